"""E-mail addresses: one mailbox has one key, however its address is written."""

import unicodedata

import idna

from storage import text

# RFC 1035, section 3.1; no name that is longer is worth encoding.
LONGEST_DOMAIN = 253


def key_of(address: str) -> str:
    """The address for comparison: without case, composed, and with the domain as DNS knows it (RFC 5891)."""
    local, _, domain = address.removesuffix(".").rpartition("@")
    return f"{unicodedata.normalize('NFKC', local).casefold()}@{encoded(domain) or domain.casefold()}"


def part_of_key(text: str) -> str:
    """A fragment of an address in the form that ``key_of`` stores, for searching."""
    return key_of(text) if "@" in text else encoded(text) or text.casefold()


def is_valid(address: str) -> bool:
    """Whether every character of it shows, and a domain beyond ASCII is one that DNS can have."""
    domain = address.rpartition("@")[2]
    return not text.hides_something(address) and (domain.isascii() or encoded(domain) is not None)


def encoded(domain: str) -> str | None:
    if len(domain) > LONGEST_DOMAIN:
        return None
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return None

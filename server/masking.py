"""What is printed and logged of settings: URLs without their passwords, however they are spelled."""

import re

MASK = "********"
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(\S*)")
# Parameters that drivers read secrets from.
SECRET = re.compile(r"(?i)([?&;][^=&;]*(?:pass|secret|token|key)[^=&;]*=)[^&;#]*")


def masked(text: str) -> str:
    """A text whose URLs show neither user information with a password nor secret parameters."""
    return URL.sub(lambda found: found[1] + masked_rest(found[2]), text)


def masked_value(value: str) -> str:
    """A value that is one URL, if it is any, whatever characters stand in it."""
    scheme, separator, rest = value.partition("://")
    return f"{scheme}://{masked_rest(rest)}" if separator else value


def masked_rest(rest: str) -> str:
    """A URL behind its scheme. A password may hold an ``@``, so that the last one ends it."""
    login, at, after = rest.rpartition("@")
    if at:
        user, colon, _ = login.partition(":")
        rest = f"{user}:{MASK}@{after}" if colon else f"{MASK}@{after}"
    return SECRET.sub(lambda found: found[1] + MASK, rest)

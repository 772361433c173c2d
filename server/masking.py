"""What is printed and logged of settings: URLs without their passwords, however they are spelled."""

import re
from urllib.parse import unquote

MASK = "********"
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(\S*)")
# A URL whose slashes were forgotten may hold a password all the same.
LOGIN = re.compile(r"^(?!mailto:).*[:/].*@")
# In names of parameters that drivers read secrets from.
SECRETS = ("pass", "secret", "token", "key")


def masked(text: str) -> str:
    """A text whose URLs show neither user information with a password nor secret parameters."""
    return URL.sub(lambda found: found[1] + masked_rest(found[2]), text)


def masked_value(value: str) -> str:
    """A value that is one URL, if it is any, whatever characters stand in it."""
    scheme, separator, rest = value.partition("://")
    if separator:
        return f"{scheme}://{masked_rest(rest)}"
    return LOGIN.sub(f"{MASK}@", value)


def masked_rest(rest: str) -> str:
    """A URL behind its scheme. A password may hold an ``@``, so that the last one ends it.

    Parameters are hidden together where one of them is secret, or may be the rest of a password with a question mark in it.
    """
    place, question, parameters = re.match("([^?#]*)([?#]?)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    names = [each.partition("=")[0].lower() for each in re.split("[&;#]", unquote(parameters))]
    hidden = "@" in parameters or any(word in name for name in names for word in SECRETS)
    login, at, after = place.rpartition("@")
    if at:
        user, colon, _ = login.partition(":")
        place = f"{user}:{MASK}@{after}" if colon else f"{MASK}@{after}"
    elif "@" in parameters and ":" in place:
        place = MASK
    return f"{place}{question}{MASK if hidden else parameters}"

"""The one rule for posting, editing, captions, thread replies, forwarding, reactions and typing in a chat."""

import re
from collections.abc import Sequence

from realtime.listed_words import NO_WORDS, ListedWords
from realtime.membership import MODERATORS
from storage.access import Access
from storage.errors import Forbidden, ListedWord, Restricted, SlowMode
from storage.text import fold
from storage.types import SECOND

# A URL with a scheme, one that begins with www, a host with a path or a port, and a name under a common top-level domain.
# Each alternative begins with a rare character, so that matching takes linear time.
LINK = re.compile(
    r"[a-z0-9+.-]://\S|\bwww\.\w|\bmailto:\S|(?<=\w)\.[a-z]{2,24}(?:/|:\d)|(?<=\d\.)\d{1,3}(?:/|:\d)|"
    r"(?<=\w)\.(?:com|net|org|info|biz|io|co|app|dev|ru|cn|de|tr|uk|fr|eu|nl|pl|br|jp|tv|xyz|top|shop|site|online|link|ly|gg)"
    r"\b(?!\.?\w)"
)


def may_speak(
    access: Access,
    text: str | None = None,
    words: ListedWords = NO_WORDS,
    *,
    posts_at: int | None = None,
    field: str = "content",
    readonly_may: bool = False,
) -> Sequence[str]:
    """Check that a user may post, edit, react or type; returns the names of the word lists that flag ``text``.

    ``posts_at`` is the time of a new message, in microseconds; None for anything else. ``field`` names the text in the
    request. With ``readonly_may``, readonly members may do it too.

    Raises Forbidden for readonly members and blocked users; Restricted for silenced users, in a frozen chat, and for links;
    SlowMode soon after another message; ListedWord. Moderators are exempt from frozen chats, links and slow mode.
    """
    if (access.role == "readonly" and not readonly_may) or access.blocked:
        raise Forbidden
    if access.silenced_until is not None:
        raise Restricted("silenced", access.silenced_until)
    if access.role not in MODERATORS:
        if access.frozen:
            raise Restricted("frozen")
        if text and access.links == "moderators" and has_link(text):
            raise Restricted("links")
        if posts_at is not None and access.slow_mode and access.last_post_at is not None:
            wait = access.last_post_at + access.slow_mode * SECOND - posts_at
            if wait > 0:
                raise SlowMode(access.slow_mode, wait / SECOND)
    if not text or words is NO_WORDS:
        return ()
    found = words.find(text)
    if found.rejected is not None:
        raise ListedWord(found.rejected, field)
    return found.flagged_by


def is_slowed(access: Access) -> bool:
    """Whether the chat's slow mode applies to the user."""
    return bool(access.slow_mode) and access.role not in MODERATORS


def has_link(text: str) -> bool:
    return LINK.search(fold(text)) is not None

"""The one rule for who may say what in a chat: for posting, editing, captions, threads, forwarding, reactions and typing."""

import re
from collections.abc import Sequence

from realtime.membership import MODERATORS
from realtime.word_lists import NO_WORDS, ListedWords
from storage.access import Access
from storage.errors import Forbidden, ListedWord, Sanctioned, SlowMode
from storage.text import fold
from storage.types import SECOND

# An address with a scheme, one that begins with www, and a name under a common domain.
LINK = re.compile(
    r"\b[a-z][a-z0-9+.-]*://\S|\bwww\.\w|\bmailto:\S|"
    r"\b[\w-]+\.(?:com|net|org|info|biz|io|co|me|app|dev|ru|cn|de|tr|uk|fr|tv|xyz|top|shop|site|online|link|ly|gg)\b(?!\.?\w)"
)


def may_speak(
    access: Access, text: str | None = None, words: ListedWords = NO_WORDS, *, posts_at: int | None = None
) -> Sequence[str]:
    """Whether a user may speak in a chat, and say ``text``; ``posts_at`` (microseconds) where it is a new message.

    Returns the lists that flag the text. Raises Forbidden for who may only read, and for who is blocked; Sanctioned for who
    is silenced, in a frozen chat, and for links; SlowMode soon after another message; ListedWord. Of these, moderators
    are exempt from frozen chats, links and slow mode.
    """
    if access.role == "readonly" or access.blocked:
        raise Forbidden
    if access.silenced_until is not None:
        raise Sanctioned("silenced", access.silenced_until)
    if access.role not in MODERATORS:
        if access.frozen:
            raise Sanctioned("frozen")
        if text and access.links == "moderators" and has_link(text):
            raise Sanctioned("links")
        if posts_at is not None and access.slow_mode and access.last_post_at is not None:
            wait = access.last_post_at + access.slow_mode * SECOND - posts_at
            if wait > 0:
                raise SlowMode(access.slow_mode, wait / SECOND)
    if not text or words is NO_WORDS:
        return ()
    found = words.find(text)
    if found.rejected is not None:
        raise ListedWord(found.rejected)
    return found.flagged_by


def keeps_pace(access: Access) -> bool:
    """Whether it counts when the user posts."""
    return bool(access.slow_mode) and access.role not in MODERATORS


def has_link(text: str) -> bool:
    return LINK.search(fold(text)) is not None

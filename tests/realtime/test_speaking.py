"""Who may say what: links, words of lists, and the order of the rule."""

from dataclasses import replace

import pytest

from realtime.listed_words import ListedWords
from realtime.membership import MODERATORS, RANKS
from realtime.speaking import has_link, is_slowed, may_speak
from storage.access import NO_READ_STATE, Access
from storage.errors import Forbidden, ListedWord, Restricted, SlowMode
from storage.types import SECOND
from storage.word_lists import WordList

LINKS = [
    "https://example.org/x", "HTTP://EXAMPLE.ORG", "see ftp://a.b", "www.example", "WWW.example.org", "mailto:a@b.org",

    "youtu.be/xyz", "spam.eu/x", "shop.example.nl", "example.com.au/x", "203.0.113.9/x", "host.lan:8080",
    "go to example.com", "Example.COM/path?x=1", "spam.tr!", "ｗｗｗ．ｅｘａｍｐｌｅ．ｏｒｇ", "(t.me/x)", "tg://join",
]  # fmt: skip
NO_LINKS = [
    "3.14",
    "e.g. this",
    "tamam.sonra",
    "a/b/c",
    "10:30",
    "file.txt",
    "well...yes",
    "example.computer",
    "v1.0.2",
    "",
]
RULES = ListedWords(
    [
        WordList(1, "rude", "reject", ["Muddlehead", "very bad thing", "ÇİRKİN", "笨蛋"], 1),
        WordList(1, "watched", "flag", ["casino", "win money"], 1),
        WordList(1, "other", "flag", ["casino"], 1),
    ]
)


@pytest.mark.parametrize("text", LINKS)
def test_links(text: str) -> None:
    assert has_link(text)


@pytest.mark.parametrize("text", NO_LINKS)
def test_what_is_no_link(text: str) -> None:
    assert not has_link(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("you MUDDLEHEAD!", "Muddlehead"),
        ("mud\u200bdle\u00adhead", "Muddlehead"),
        ("muddleheads", None),
        ("a very, bad thing", "very bad thing"),
        ("very good thing", None),
        ("cirkin", "ÇİRKİN"),
        ("你是笨蛋吗", "笨蛋"),
        ("笨 蛋", None),
        ("fine", None),
    ],
)
def test_words_of_lists(text: str, word: str | None) -> None:
    assert RULES.find(text).rejected == word


def test_lists_that_flag() -> None:
    assert RULES.find("Casino: win MONEY").flagged_by == ["watched", "other"]
    assert RULES.find("casino, you muddlehead").flagged_by == ()


def access(role: str = "member", **values: object) -> Access:
    plain = Access(
        read=NO_READ_STATE,
        silenced_until=None,
        chat_id="c",
        type="group",
        history_visible="all",
        member_count=2,
        role=role,
        joined_seq=0,
        status="active",
        reactions="members",
        frozen=False,
        slow_mode=0,
        links="all",
        last_post_at=None,
        blocked=False,
    )
    return replace(plain, **values)  # type: ignore[arg-type]


def test_the_order_of_the_rule() -> None:
    """Sanctions, slow mode, word lists."""
    everything = access(silenced_until=9, frozen=True, links="moderators", slow_mode=10, last_post_at=0)
    text = "muddlehead www.example.org"
    for without, error, code in (
        ({}, Restricted, "silenced"),
        ({"silenced_until": None}, Restricted, "frozen"),
        ({"frozen": False}, Restricted, "links"),
        ({"links": "all"}, SlowMode, "slow_mode"),
        ({"slow_mode": 0}, ListedWord, "listed_word"),
    ):
        everything = replace(everything, **without)
        with pytest.raises(error) as found:
            may_speak(everything, text, RULES, posts_at=SECOND)
        assert found.value.code == code
    with pytest.raises(Forbidden):
        may_speak(access("readonly"))
    with pytest.raises(Forbidden):
        may_speak(access(blocked=True))


def test_slow_mode_says_how_long() -> None:
    slow = access(slow_mode=10, last_post_at=5 * SECOND)
    with pytest.raises(SlowMode) as found:
        may_speak(slow, posts_at=12 * SECOND)
    assert found.value.retry_after == 3
    assert may_speak(slow, posts_at=15 * SECOND) == () and is_slowed(slow)
    assert may_speak(slow) == (), "what is no new message"
    assert may_speak(access(slow_mode=10), posts_at=0) == ()


@pytest.mark.parametrize("role", MODERATORS)
def test_moderators_are_exempt_from_all_but_silences_and_lists(role: str) -> None:
    free = access(role, frozen=True, links="moderators", slow_mode=10, last_post_at=0)
    assert not may_speak(free, "www.example.org", RULES, posts_at=1) and not is_slowed(free)
    with pytest.raises(Restricted):
        may_speak(replace(free, silenced_until=9))
    with pytest.raises(ListedWord):
        may_speak(free, "muddlehead", RULES)


def test_ranks() -> None:
    assert sorted(RANKS, key=lambda role: RANKS[role]) == [
        "viewer",
        "readonly",
        "member",
        "moderator",
        "admin",
        "owner",
    ]

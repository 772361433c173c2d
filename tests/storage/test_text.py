"""Text as people see it: what is equal to a search, what shows nothing, where a text may be cut."""

import pytest

from storage import email
from storage.text import cut, fold, hides_something, is_blank, without_directions

SAME = [
    ["İzmir", "izmir", "IZMIR", "ızmir", "İZMİR"],
    ["Işıl", "ışıl", "IŞIL", "isil", "İŞİL"],
    ["Öztürk", "ozturk", "ÖZTÜRK", "O\u0308ztu\u0308rk"],
    ["Straße", "STRASSE", "strasse"],
    ["Łukasz", "łukasz", "ŁUKASZ"],
    ["Čeněk", "cenek"],
    ["Ångström", "angstrom", "A\u030angstrom"],
    ["Ἀθῆναι", "ἀθῆναι", "Αθηναι", "αθηναι"],
    ["Йод", "йод", "Иод"],
    ["שָׁלוֹם", "שלום"],
    ["مُحَمَّد", "محمد"],
    ["\uff21\uff22", "ab"],
    ["각", "\u1100\u1161\u11a8"],
    ["が", "か\u3099"],
]
DIFFERENT = [("が", "か"), ("パ", "ハ"), ("की", "का"), ("각", "가"), ("a", "b"), ("ö", "p")]
BLANK = [
    "",
    " ",
    "\u200b",
    "\u2060",
    "\u3164",
    "\u2800",
    "\u00ad",
    "\ufe0f",
    "\U000e0041",
    "\u202e",
    "\u115f",
    "\uffa0",
]
SHOWS = ["a", "👨‍👩‍👧", "می‌خواهم", "क्‍ष", "مرحبا", "0", ".", "\u0301", "✈️", "🇹🇷"]


@pytest.mark.parametrize("spellings", SAME, ids=lambda spellings: spellings[0])
def test_spellings_of_one_name_are_equal(spellings: list[str]) -> None:
    assert len({fold(each) for each in spellings}) == 1, [fold(each) for each in spellings]
    assert all(fold(fold(each)) == fold(each) for each in spellings)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_marks_that_are_letters_stay(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_what_shows_nothing_is_blank() -> None:
    assert all(is_blank(each) and is_blank(each + " " + each) for each in BLANK)
    assert not any(is_blank(each) or is_blank("\u200b" + each) for each in SHOWS)
    assert hides_something("a\u200bb") and hides_something("a b") and not hides_something("a.b+c@münchen.de")


def test_a_name_can_not_turn_what_stands_beside_it() -> None:
    assert without_directions("gpj.\u202eexe\u202c \u2066x\u2069") == "gpj.exe x"
    for each in SHOWS:
        assert without_directions(each) == each


@pytest.mark.parametrize("piece", ["👨‍👩‍👧‍👦", "e\u0301", "🇹🇷", "✈️", "क्षि", "각", "a"])
def test_a_text_is_cut_between_characters_as_people_see_them(piece: str) -> None:
    text = piece * 5
    for size in range(len(text) + 2):
        beginning = cut(text, size)
        assert beginning == piece * (len(beginning) // len(piece)) and len(beginning) <= size
        assert len(beginning) > size - len(piece) or beginning == text


def test_one_mailbox_has_one_key() -> None:
    assert (
        email.key_of("Ann@MÜNCHEN.de") == email.key_of("ann@xn--mnchen-3ya.de") == email.key_of("ann@mu\u0308nchen.de")
    )
    assert email.key_of("J\u00f6rg@example.org") == email.key_of("jo\u0308rg@Example.ORG")
    assert email.key_of("a@under_score.local") == "a@under_score.local"
    assert email.key_of("ann@" + "ü" * 100_000) == "ann@" + "ü" * 100_000, "at once"
    assert not email.is_valid("ann@" + "ü" * 300)
    for address in (
        "a\u200bnn@example.org",
        "ann@exa\u202emple.org",
        "ann@exam\u00adple.org",
        "ann@\u3164.org",
        "a@ü..de",
    ):
        assert not email.is_valid(address), address
    for address in ("ann@example.org", "ann@münchen.de", "jörg@example.org", "a@localhost", "a@under_score.local"):
        assert email.is_valid(address), address

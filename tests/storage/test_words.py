"""Words of texts: what an index holds of them, what a query asks for, and where it matches."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.words import (
    INDEXED_LENGTH,
    Key,
    Span,
    find_terms,
    folded,
    has_all,
    keys_of,
    keys_of_terms,
    located,
    read_query,
    words_of,
)
from tests.support import corpus

WORDS = [
    ("Öztürk geldi, İzmir'e ISPARTA", "ozturk geldi izmir e isparta"),
    ("a_b.c-d 3.14 x2", "a b c d 3 14 x2"),
    ("今日は", "今 日 は"),
    ("ｶﾞ ガ", "ガ ガ"),
    ("한국 text", "한 국 text"),
    ("สวัสดี", "ส วั ส ดี"),
    ("👍🏽👨‍👩‍👧 ok", "👍 👨 👩 👧 ok"),
    ("me\u00adeting b\u200bad", "meeting bad"),
    ("رســـالة مُحَمَّد", "رسالة محمد"),
    ("ﬁ ẞ ① Ⅷ", "fi ss 1 viii"),
    ("", ""),
    ("!?…—", ""),
]
KEYS = [
    ("plum plum pear", {"plum", "pear"}),
    ("今日は", {"今日", "日は", "は"}),
    ("abc今日", {"abc", "今日", "日"}),
    ("今 日", {"今", "日"}),
    ("x" * 100, {"x" * INDEXED_LENGTH}),
]
MATCHING = [
    ("a plum tree", "plum", [(2, 4)]),
    ("a plum tree", "tr", [(7, 2)]),
    ("a plum tree", "pl tree", []),
    ("a plum tree", '"plum tree"', [(2, 9)]),
    ("a plum, tree", '"plum tree', [(2, 10)]),
    ("a plum big tree", '"plum tree"', []),
    ("plums", '"plum"', []),
    ("今日は良い天気", "天気", [(5, 2)]),
    ("今日は良い天気", "天", [(5, 1)]),
    ("今 日", "今日", []),
    ("今 日", '"今 日"', [(0, 3)]),
    ("İstanbul ve IŞIK", "istanbul isik", [(0, 8), (12, 4)]),
    ("o\u0308zel", "öz", [(0, 3)]),
    ("plum plum", "plum", [(0, 4), (5, 4)]),
    ("plum plumber", "plum plumb", [(0, 4), (5, 5)]),
    ("👍🏽 done", "👍 done", [(0, 2), (3, 4)]),
    ("y" * 70 + " z", "y" * 65 + " z", []),
    ("y" * 70, "y" * 65, [(0, 65)]),
]
ANY_TEXT = st.one_of(
    st.text(max_size=40),
    st.text(
        alphabet="aıİIiöo\u0308\u200d\u200b\u0640 \"'-今日ガカ\u3099ｶﾞ가각\u1100\u1161\u11a8\u0300👍🏽👨สวั①ﬁ",
        max_size=20,
    ),
)


@pytest.mark.parametrize(("text", "words"), WORDS)
def test_words(text: str, words: str) -> None:
    assert [each.text for each in words_of(text)] == words.split()


@pytest.mark.parametrize(("text", "keys"), KEYS)
def test_what_an_index_holds(text: str, keys: set[str]) -> None:
    assert keys_of(text) == keys


@pytest.mark.parametrize(("text", "query", "spans"), MATCHING)
def test_where_a_query_matches(text: str, query: str, spans: list[tuple[int, int]]) -> None:
    assert (find_terms(text, read_query(query), most=10) or []) == [Span(*each) for each in spans]


def test_of_many_places_some_are_shown() -> None:
    assert len(find_terms("plum " * 50, read_query("plum"), most=7) or []) == 7


@given(ANY_TEXT)
def test_a_text_read_in_clusters_has_the_same_words(text: str) -> None:
    assert located(text)[0] == folded(text)


def is_held(key: Key, keys: set[str]) -> bool:
    return any(each.startswith(key.text) for each in keys) if key.prefix else key.text in keys


@given(ANY_TEXT, ANY_TEXT)
def test_an_index_misses_nothing(text: str, query: str) -> None:
    """What matches has the keys that an index is asked for; and a plain scan says the same."""
    terms = read_query(query)
    matching = has_all(text, terms)
    keys = keys_of(text)
    assert not matching or all(is_held(each, keys) for each in keys_of_terms(terms))
    assert (find_terms(text, terms, most=100) is not None) == matching


@given(st.integers(0, 2**32))
def test_a_plain_scan_finds_the_same(seed: int) -> None:
    source = random.Random(seed)
    text, query = corpus.text(source), corpus.query(source)
    assert has_all(text, read_query(query)) == corpus.holds(corpus.scan(text), corpus.parts(query))

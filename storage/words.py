"""Words of a text, as searches and word lists compare them, and where a text has what a search asks for.

A word is a run of letters and digits of the folded text. Scripts that put no spaces between words are read character by
character: what follows one another there is found by any part of it. A symbol, as an emoji, is a word of its own.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import regex

from storage.text import fold

# Code points of a word that an index holds; longer words are told apart when a message is read again.
INDEXED_LENGTH = 64
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc\uff70"
WORD = regex.compile(
    rf"(?P<unspaced>(?:[{UNSPACED}]\p{{M}}*)+)|[[\p{{L}}\p{{N}}\p{{M}}]--[{UNSPACED}]]+|\p{{So}}", regex.VERSION1
)
UNSPACED_CHARACTER = regex.compile(rf"[{UNSPACED}]\p{{M}}*")
ASCII_WORD = regex.compile(r"[a-z0-9]+")
# What shows nothing, and the Arabic stroke that only lengthens a word.
IGNORED = regex.compile(r"[\p{Default_Ignorable_Code_Point}\u0640]+")
# A character and what belongs to it: what folds to one text, wherever it stands.
CLUSTER = regex.compile(r"\X")
QUOTES = regex.compile('["\u201c\u201d]')


class Word(NamedTuple):
    """``unspaced`` is a character of a script without spaces, and ``joined`` one that follows another directly."""

    text: str
    unspaced: bool = False
    joined: bool = False


class Span(NamedTuple):
    """A part of a text, in code points."""

    offset: int
    length: int


class Term(NamedTuple):
    """Words that follow one another; the last one may be the beginning of a word where it is a ``prefix``."""

    words: tuple[Word, ...]
    prefix: bool = False


class Key(NamedTuple):
    """What an index is asked for: a text that it holds for a message, or the beginning of one."""

    text: str
    prefix: bool = False


def words_of(text: str) -> list[Word]:
    """In the order of the text."""
    plain = folded(text)
    if plain.isascii():
        return [Word(each) for each in ASCII_WORD.findall(plain)]
    return [word for word, _, _ in placed_words(plain)]


def folded(text: str) -> str:
    plain = fold(text)
    return plain if plain.isascii() else IGNORED.sub("", plain)


def placed_words(text: str) -> Iterator[tuple[Word, int, int]]:
    """The words of a folded text, each with its beginning and end."""
    for match in WORD.finditer(text):
        if match.lastgroup is None:
            yield Word(match[0]), match.start(), match.end()
            continue
        for character in UNSPACED_CHARACTER.finditer(text, match.start(), match.end()):
            yield Word(character[0], True, character.start() > match.start()), character.start(), character.end()


def keys_of(words: Sequence[Word]) -> set[str]:
    """What an index holds for a text: its words, and pairs of neighbouring characters of scripts without spaces."""
    keys = set()
    for place, word in enumerate(words):
        follower = words[place + 1] if place + 1 < len(words) else None
        pair = word.unspaced and follower is not None and follower.joined
        keys.add((word.text + follower.text if pair and follower else word.text)[:INDEXED_LENGTH])
    return keys


def read_query(query: str) -> list[Term]:
    """Terms that must all match: each word outside quotes, the last one also as a beginning, and what stands in quotes."""
    terms: list[Term] = []
    parts = QUOTES.split(query)
    for place, part in enumerate(parts):
        words = words_of(part)
        if place % 2:
            if words:
                terms.append(Term(tuple(words)))
            continue
        runs: list[list[Word]] = []
        for word in words:
            if word.joined:
                runs[-1].append(word)
            else:
                runs.append([word])
        last = place == len(parts) - 1
        terms += [Term(tuple(run), prefix=last and number == len(runs)) for number, run in enumerate(runs, 1)]
    return terms


def keys_of_terms(terms: Sequence[Term]) -> list[Key]:
    """Every text that matches the terms has all of these."""
    keys: dict[Key, None] = {}
    for term in terms:
        for place, word in enumerate(term.words):
            last = place == len(term.words) - 1
            if not word.unspaced:
                key = Key(word.text[:INDEXED_LENGTH], prefix=term.prefix and last)
            elif not last and term.words[place + 1].joined:
                key = Key((word.text + term.words[place + 1].text)[:INDEXED_LENGTH])
            elif word.joined:
                continue
            else:
                key = Key(word.text[:INDEXED_LENGTH], prefix=True)
            keys[key] = None
    return list(keys)


def places_of(words: Sequence[Word], term: Term) -> Iterator[int]:
    """At which of the words a term begins."""
    for place in range(len(words) - len(term.words) + 1):
        if has_at(words, place, term):
            yield place


def has_at(words: Sequence[Word], place: int, term: Term) -> bool:
    """Whether a term begins at one of the words."""
    last = len(term.words) - 1
    return place + last < len(words) and all(
        matches(words[place + number], word, prefix=term.prefix and number == last)
        for number, word in enumerate(term.words)
    )


def matches(word: Word, wanted: Word, *, prefix: bool) -> bool:
    if wanted.joined and not word.joined:
        return False
    return word.text.startswith(wanted.text) if prefix and not wanted.unspaced else word.text == wanted.text


def has_all(words: Sequence[Word], terms: Sequence[Term]) -> bool:
    return all(next(places_of(words, term), None) is not None for term in terms)


def find_terms(text: str, terms: Sequence[Term], *, most: int) -> list[Span]:
    """Where a text has the terms, in its order and without overlaps; none where it has not all of them."""
    if not has_all(words_of(text), terms):
        return []
    shown, starts, ends = located(text)
    placed = list(placed_words(shown))
    words = [word for word, _, _ in placed]
    found = set()
    for term in terms:
        for place in places_of(words, term):
            last = place + len(term.words) - 1
            end = placed[last][1] + len(term.words[-1].text)
            found.add((starts[placed[place][1]], ends[end - 1]))
    spans: list[Span] = []
    upto = 0
    for start, end in sorted(found):
        if end > upto:
            spans.append(Span(max(start, upto), end - max(start, upto)))
            upto = end
    return spans[:most]


def located(text: str) -> tuple[str, list[int], list[int]]:
    """The folded text, and for each of its characters where that begins and ends in the text."""
    shown, starts, ends = "", list[int](), list[int]()
    for cluster in CLUSTER.finditer(text):
        piece = folded(cluster[0])
        shown += piece
        starts += [cluster.start()] * len(piece)
        ends += [cluster.end()] * len(piece)
    return shown, starts, ends

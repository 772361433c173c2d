"""Words of a text, as searches and word lists compare them, and where a text has what a search asks for.

A word is a run of letters and digits of the folded text. Scripts that put no spaces between words are read character by
character: what follows one another there is found by any part of it. A symbol, as an emoji, is a word of its own.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import regex

from storage.text import fold

# An index stores at most this many code points of a word; the rest of a longer word is compared in the message itself.
INDEXED_LENGTH = 64
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc\uff70"
WORD = regex.compile(
    rf"(?P<unspaced>(?:[{UNSPACED}]\p{{M}}*)+)|[[\p{{L}}\p{{N}}\p{{M}}]--[{UNSPACED}]]+|\p{{So}}", regex.VERSION1
)
UNSPACED_CHARACTER = regex.compile(rf"[{UNSPACED}]\p{{M}}*")
ASCII_WORD = regex.compile(r"[a-z0-9]+")
# Invisible code points, and the Arabic tatweel, which only stretches a word.
IGNORED = regex.compile(r"[\p{Default_Ignorable_Code_Point}\u0640]+")
# A grapheme cluster: it folds to the same text in every context.
CLUSTER = regex.compile(r"\X")
QUOTES = regex.compile('["\u201c\u201d]')
MARK = regex.compile(r"\p{M}")
# Prefix of a word in an encoded text: separated from the word before, or directly after it.
APART, JOINED, EITHER = "\x01", "\x02", "[\x01\x02]"


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


def keys_of(text: str) -> set[str]:
    """What an index holds for a text: its words, and pairs of neighbouring characters of scripts without spaces."""
    plain = folded(text)
    if plain.isascii():
        return {each[:INDEXED_LENGTH] for each in ASCII_WORD.findall(plain)}
    keys = set()
    for match in WORD.finditer(plain):
        if match.lastgroup is None:
            keys.add(match[0][:INDEXED_LENGTH])
        else:
            characters = characters_of(match[0])
            keys.update(map("".join, pairwise(characters)), characters[-1:])
    return keys


def characters_of(run: str) -> Sequence[str]:
    """Of a script without spaces, each with its marks."""
    return UNSPACED_CHARACTER.findall(run) if MARK.search(run) else run


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
    """Every text that matches the terms has all of these keys."""
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


def has_at(words: Sequence[Word], place: int, entry: Sequence[Word]) -> bool:
    """Whether these words stand at a place among others."""
    return len(words) >= place + len(entry) and all(
        words[place + number].text == word.text and (words[place + number].joined or not word.joined)
        for number, word in enumerate(entry)
    )


def encoded(text: str) -> str:
    """The words of a text, each prefixed with APART or JOINED, for ``pattern_of``."""
    plain = folded(text)
    if plain.isascii():
        return APART + APART.join(ASCII_WORD.findall(plain)) + APART
    parts = []
    for match in WORD.finditer(plain):
        parts += [APART, match[0] if match.lastgroup is None else JOINED.join(characters_of(match[0]))]
    return "".join(parts) + APART


@lru_cache(maxsize=1024)
def pattern_of(term: Term) -> re.Pattern[str]:
    """Matches a term in an encoded text."""
    parts = [(JOINED if word.joined else EITHER) + re.escape(word.text) for word in term.words]
    open_end = term.prefix and not term.words[-1].unspaced
    return re.compile("".join(parts) + ("" if open_end else f"(?={EITHER})"))


def has_all(text: str, terms: Sequence[Term]) -> bool:
    there = encoded(text)
    return all(pattern_of(term).search(there) for term in terms)


def find_terms(text: str, terms: Sequence[Term], *, most: int) -> list[Span] | None:
    """Where a text has the terms, in its order and without overlaps; None where it has not all of them."""
    if not has_all(text, terms):
        return None
    shown, starts, ends = located(text)
    placed = list(placed_words(shown))
    there, numbers, size = list[str](), dict[int, int](), 0
    for number, (word, _, _) in enumerate(placed):
        numbers[size] = number
        there += [JOINED if word.joined else APART, word.text]
        size += 1 + len(word.text)
    searched = "".join([*there, APART])
    found = set()
    for term in terms:
        for match in pattern_of(term).finditer(searched):
            first = numbers[match.start()]
            end = placed[first + len(term.words) - 1][1] + len(term.words[-1].text)
            found.add((starts[placed[first][1]], ends[end - 1]))
    spans: list[Span] = []
    upto = 0
    for start, end in sorted(found):
        if end > upto:
            spans.append(Span(max(start, upto), end - max(start, upto)))
            upto = end
    return spans[:most]


def located(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """The folded text, and for each of its characters where that begins and ends in the text."""
    if text.isascii():
        return fold(text), range(len(text)), range(1, len(text) + 1)
    pieces, starts, ends = list[str](), list[int](), list[int]()
    for cluster in CLUSTER.finditer(text):
        piece = folded(cluster[0])
        pieces.append(piece)
        starts += [cluster.start()] * len(piece)
        ends += [cluster.end()] * len(piece)
    return "".join(pieces), starts, ends

"""Matches texts against the word lists of a tenant."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.word_lists import WordAction, WordList
from storage.words import Word, has_at, words_of


class FoundWords(NamedTuple):
    """The rejected word that a text contains, if any, and the names of the lists that flag it."""

    rejected: str | None
    flagged_by: Sequence[str]


class Entry(NamedTuple):
    """An entry of a list: its text as given, its words, and the name and action of the list."""

    text: str
    words: tuple[Word, ...]
    name: str
    action: WordAction


class ListedWords:
    """The lists of one tenant. An entry may have several words."""

    def __init__(self, lists: Iterable[WordList]) -> None:
        # By the texts of all words of an entry, so that a lookup costs the same however many entries share a first word.
        self.entries: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
        # By first word: the numbers of words that entries have.
        self.lengths: dict[str, set[int]] = defaultdict(set)
        for each in lists:
            for text in each.words:
                words = tuple(words_of(text))
                if words:
                    self.entries[texts_of(words)].append(Entry(text, words, each.name, each.action))
                    self.lengths[words[0].text].add(len(words))

    def find(self, text: str) -> FoundWords:
        """Matches whole words; in a script without spaces, any part of a text."""
        words = words_of(text)
        flagged: dict[str, None] = {}
        for place, word in enumerate(words):
            for length in self.lengths.get(word.text, ()):
                for entry in self.entries.get(texts_of(words[place : place + length]), ()):
                    if has_at(words, place, entry.words):
                        if entry.action == "reject":
                            return FoundWords(entry.text, ())
                        flagged[entry.name] = None
        return FoundWords(None, list(flagged))


def texts_of(words: Sequence[Word]) -> tuple[str, ...]:
    return tuple(each.text for each in words)


NO_WORDS = ListedWords([])

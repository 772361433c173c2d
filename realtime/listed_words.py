"""Words of a tenant's lists: which text has a word that is rejected, or that flags it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.word_lists import WordAction, WordList
from storage.words import Word, has_at, words_of


class FoundWords(NamedTuple):
    """A listed word that is rejected, and the lists that flag a text."""

    rejected: str | None
    flagged_by: Sequence[str]


class Entry(NamedTuple):
    """Of a list: as it was given, its words, and the list's name and action."""

    text: str
    words: tuple[Word, ...]
    name: str
    action: WordAction


class ListedWords:
    """Those of one tenant. An entry may have several words."""

    def __init__(self, lists: Iterable[WordList]) -> None:
        # By the texts of all their words, so that many entries with one beginning cost no more than one.
        self.entries: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
        # How many words the entries have that begin with a word.
        self.lengths: dict[str, set[int]] = defaultdict(set)
        for each in lists:
            for text in each.words:
                words = tuple(words_of(text))
                if words:
                    self.entries[texts_of(words)].append(Entry(text, words, each.name, each.action))
                    self.lengths[words[0].text].add(len(words))

    def find(self, text: str) -> FoundWords:
        """A part of a longer word is not found; in a script without spaces it is."""
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

"""Words of a tenant's lists: which text has a word that is rejected, or that flags it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.word_lists import WordAction, WordList
from storage.words import Term, has_at, words_of


class FoundWords(NamedTuple):
    """A listed word that is rejected, and the lists that flag a text."""

    rejected: str | None
    flagged_by: Sequence[str]


class ListedWords:
    """Those of one tenant, by the first word of each: an entry may have several."""

    def __init__(self, lists: Iterable[WordList]) -> None:
        # Of each entry: the entry as it was given, its words, and its list's name and action.
        self.entries: dict[str, list[tuple[str, Term, str, WordAction]]] = defaultdict(list)
        for each in lists:
            for entry in each.words:
                words = words_of(entry)
                if words:
                    self.entries[words[0].text].append((entry, Term(tuple(words)), each.name, each.action))

    def find(self, text: str) -> FoundWords:
        """A part of a longer word is not found; in a script without spaces it is."""
        words = words_of(text)
        flagged: dict[str, None] = {}
        for place, word in enumerate(words):
            for entry, term, name, action in self.entries.get(word.text, ()):
                if has_at(words, place, term):
                    if action == "reject":
                        return FoundWords(entry, ())
                    flagged[name] = None
        return FoundWords(None, list(flagged))


NO_WORDS = ListedWords([])

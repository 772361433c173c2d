"""Lists of words of each tenant, held in memory: which text has a word that is rejected, or makes a report."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from realtime.schema import shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from storage import audit, word_lists
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.transaction import Command, Tx
from storage.types import iso_time
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


class WordLists:
    """Call ``refresh()`` every second: another node may have changed a list."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self.database = database
        self.limits = limits
        self.by_tenant: dict[int, ListedWords] = {}
        self.version = (0, 0)

    def of(self, tenant_pk: int) -> ListedWords:
        return self.by_tenant.get(tenant_pk, NO_WORDS)

    async def refresh(self) -> None:
        known = self.version

        def look(connection: Connection) -> tuple[tuple[int, int], list[WordList] | None]:
            version = word_lists.version(connection)
            return version, None if version == known else word_lists.every(connection)

        version, lists = await self.database.read(look, snapshot=True)
        if lists is None:
            return
        by_tenant: dict[int, list[WordList]] = defaultdict(list)
        for each in lists:
            by_tenant[each.tenant_pk].append(each)
        self.by_tenant = {tenant_pk: ListedWords(some) for tenant_pk, some in by_tenant.items()}
        self.version = version

    async def put(self, caller: Caller, name: str, action: WordAction, words: Sequence[str]) -> shapes.WordListDocument:
        """Make a list, or replace it. Raises Conflict where there are too many."""
        kept = list(dict.fromkeys(words))

        def apply(tx: Tx) -> WordList:
            actor = caller.fresh(tx)
            actor.require("admin")
            tenant_pk = actor.user.tenant_pk
            known = word_lists.of_tenant(tx.connection(), tenant_pk)
            if len(known) >= self.limits.word_lists and name not in {each.name for each in known}:
                raise Conflict(f"A tenant can have at most {self.limits.word_lists} word lists")
            audit.add(tx, actor.user, "word-list.put", name, action=action, words=len(kept))
            return word_lists.put(tx, tenant_pk, name, action, kept)

        made = await self.database.write(Command(apply, keys=[key_of(caller)]))
        await self.refresh()
        return document(made)

    async def remove(self, caller: Caller, name: str) -> None:
        """Raises NotFound."""

        def apply(tx: Tx) -> None:
            actor = caller.fresh(tx)
            actor.require("admin")
            if word_lists.find(tx.connection(), actor.user.tenant_pk, name) is None:
                raise NotFound
            audit.add(tx, actor.user, "word-list.delete", name)
            word_lists.remove(tx, actor.user.tenant_pk, name)

        await self.database.write(Command(apply, keys=[key_of(caller)]))
        await self.refresh()

    async def get(self, caller: Caller, name: str) -> shapes.WordListDocument:
        """Raises NotFound."""
        caller.require("admin")
        found = await self.database.read(lambda it: word_lists.find(it, caller.user.tenant_pk, name))
        if found is None:
            raise NotFound
        return document(found)

    async def of_tenant(self, caller: Caller) -> list[shapes.WordListDocument]:
        caller.require("admin")
        found = await self.database.read(lambda it: word_lists.of_tenant(it, caller.user.tenant_pk))
        return [document(each) for each in found]


def key_of(caller: Caller) -> str:
    return f"word lists:{caller.user.tenant_pk}"


def document(item: WordList) -> shapes.WordListDocument:
    return {"name": item.name, "action": item.action, "words": item.words, "updatedAt": iso_time(item.updated_at)}

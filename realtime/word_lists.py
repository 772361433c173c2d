"""Word lists of each tenant: held in memory, and changed by its admins."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection

from realtime.listed_words import NO_WORDS, ListedWords
from realtime.schema import shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from storage import audit, word_lists
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.transaction import Command, Tx
from storage.types import iso_time
from storage.word_lists import WordAction, WordList


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
                raise Conflict(f"A tenant can have at most {self.limits.word_lists} word lists", code="limit_reached")
            audit.add(tx, actor.user, "word-list.change", name, action=action, words=len(kept))
            return word_lists.put(tx, tenant_pk, name, action, kept)

        made = await self.database.write(Command(apply, keys=[key_of(caller)]))
        await self.refresh()
        return document(made)

    async def remove(self, caller: Caller, name: str) -> None:
        """Without a list of this name nothing happens."""

        def apply(tx: Tx) -> None:
            actor = caller.fresh(tx)
            actor.require("admin")
            if word_lists.find(tx.connection(), actor.user.tenant_pk, name) is None:
                return
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

"""Which number a chat's id stands for."""

from collections import OrderedDict

from storage import chat
from storage.database import Database
from storage.errors import NotFound

CACHED_CHATS = 50_000


class ChatNumbers:
    """A chat's number never changes and is never used again, so it is remembered."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.known: OrderedDict[tuple[int, str], int] = OrderedDict()

    async def find(self, tenant_pk: int, id: str) -> int:
        """Raises NotFound."""
        pk = self.known.get((tenant_pk, id))
        if pk is None:
            pk = await self.database.read(lambda connection: chat.find(connection, tenant_pk, id))
            if pk is None:
                raise NotFound
            self.known[tenant_pk, id] = pk
            if len(self.known) > CACHED_CHATS:
                self.known.popitem(last=False)
        return pk

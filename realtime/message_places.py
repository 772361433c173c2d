"""Where a message is, by its id."""

from collections import OrderedDict

from storage import messages
from storage.database import Database
from storage.messages import MessagePlace

CACHED_MESSAGES = 50_000


class MessagePlaces:
    """A message never moves, so its place is remembered; a transaction looks again whether its chat is still there.

    The ``ordinal`` of a place may be one from before the chat's messages were numbered.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.known: OrderedDict[tuple[int, str], MessagePlace] = OrderedDict()

    async def find(self, tenant_pk: int, id: str) -> MessagePlace | None:
        """Of a message of the tenant, or None."""
        place = self.known.get((tenant_pk, id))
        if place is None:
            place = await self.database.read(lambda connection: messages.where_is(connection, tenant_pk, id))
            if place is not None:
                self.known[tenant_pk, id] = place
                if len(self.known) > CACHED_MESSAGES:
                    self.known.popitem(last=False)
        return place

"""Reactions to messages over REST."""

from operator import attrgetter
from typing import Any

from realtime.schema import message_documents
from realtime.schema.fields import ReactionKey, reaction_key
from realtime.schema.message_shapes import ReactedDocument, ReactorDocument
from server.call import Call, NoBody, Page, Paging, paged
from storage.errors import Invalid


class WithKey(Paging):
    """Who reacted with this key."""

    key: ReactionKey


def key(call: Call[Any, Any]) -> str:
    """That of the path. Raises Invalid."""
    try:
        return reaction_key(call.request.match_info["key"])
    except ValueError as error:
        raise Invalid.field("key", str(error)) from None


async def add(call: Call) -> ReactedDocument:
    return await call.services.reactions.add(call.caller, call.id(), key(call))


async def remove(call: Call) -> ReactedDocument:
    return await call.services.reactions.remove(call.caller, call.id(), key(call))


async def who(call: Call[NoBody, WithKey]) -> Page[ReactorDocument]:
    query: WithKey = call.query
    find, id = call.services.reactions.who, call.id()
    return await paged(
        call,
        lambda after, limit: find(call.caller, id, key=query.key, after=after or 0, limit=limit),
        message_documents.reactor,
        attrgetter("user_pk"),
    )

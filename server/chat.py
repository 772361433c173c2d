"""Chats and their members over REST."""

from operator import attrgetter
from typing import Annotated

from pydantic import Field

from realtime.schema import documents
from realtime.schema.bodies import (
    AddMembers,
    BanMember,
    Body,
    ChangeChat,
    ChangeMember,
    CreateChat,
    MuteChat,
    Sanctioning,
)
from realtime.schema.fields import Seq, Text, microseconds
from realtime.schema.shapes import ChatDocument, ChatEventsDocument, ChatFactsDocument, MemberDocument, SanctionDocument
from server.call import Answer, Call, Created, NoBody, Page, Paging, Succeeded, page, paged, read_cursor, write_cursor


async def create(call: Call[CreateChat]) -> Answer[ChatDocument]:
    rates = call.services.rates
    if call.body.type == "group":
        await rates.spend(rates.groups, str(call.caller.pk))
    document, new = await call.services.chats.create(call.caller, call.body)
    return Created(document) if new else document


async def list_mine(call: Call[NoBody, Paging]) -> Page[ChatDocument]:
    limit = call.query.limit
    before = read_cursor(call.query.cursor, 2)
    found = await call.services.chats.of_user(call.caller, before=before, limit=limit + 1)  # type: ignore[arg-type]
    shown = found[:limit]
    cursor = write_cursor(shown[-1].active_at, shown[-1].pk) if len(found) > limit else None
    return page([each.document for each in shown], cursor)


class Search(Paging):
    """An id, or a part of the name."""

    query: Text


async def search(call: Call[NoBody, Search]) -> Page[ChatFactsDocument]:
    find, text = call.services.chats.search, call.query.query
    return await paged(
        call, lambda before, limit: find(call.caller, text, before=before, limit=limit), documents.chat_facts
    )


class EventsQuery(Body):
    """The newest page, or the one before a seq."""

    before: Seq | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


async def events(call: Call[NoBody, EventsQuery]) -> ChatEventsDocument:
    query = call.query
    return await call.services.history.events(call.caller, call.id(), before=query.before, limit=query.limit)


async def get(call: Call) -> ChatDocument:
    return await call.services.chats.get(call.caller, call.id())


async def change(call: Call[ChangeChat]) -> ChatDocument:
    return await call.services.chats.change(call.caller, call.id(), call.body)


async def delete(call: Call) -> ChatDocument:
    return await call.services.chats.delete(call.caller, call.id())


async def members(call: Call[NoBody, Paging]) -> Page[MemberDocument]:
    find, id = call.services.chats.members, call.id()
    return await paged(
        call,
        lambda after, limit: find(call.caller, id, after=after or 0, limit=limit),
        documents.member,
        attrgetter("user_pk"),
    )


async def add_members(call: Call[AddMembers]) -> Answer[ChatDocument]:
    document, new = await call.services.chats.add_members(call.caller, call.id(), call.body.userIds, call.body.role)
    return Created(document) if new else document


async def change_member(call: Call[ChangeMember]) -> MemberDocument:
    return await call.services.chats.set_role(call.caller, call.id(), call.id("userId"), call.body.role)


async def remove_member(call: Call) -> ChatDocument:
    return await call.services.chats.remove_member(call.caller, call.id(), call.id("userId"))


async def ban(call: Call[BanMember]) -> SanctionDocument:
    body, user_id = call.body, call.id("userId")
    end = microseconds(body.until)
    return await call.services.sanctions.ban(call.caller, call.id(), user_id, end, body.reason, body.delete)


async def unban(call: Call) -> SanctionDocument:
    return await call.services.sanctions.lift(call.caller, call.id(), call.id("userId"), "ban")


async def bans(call: Call[NoBody, Paging]) -> Page[SanctionDocument]:
    find, id = call.services.sanctions.bans, call.id()
    return await paged(
        call,
        lambda after, limit: find(call.caller, id, after=after or 0, limit=limit),
        documents.sanction,
        attrgetter("user_pk"),
    )


async def silence(call: Call[Sanctioning]) -> SanctionDocument:
    end = microseconds(call.body.until)
    return await call.services.sanctions.silence(call.caller, call.id(), call.id("userId"), end, call.body.reason)


async def end_silence(call: Call) -> SanctionDocument:
    return await call.services.sanctions.lift(call.caller, call.id(), call.id("userId"), "silence")


async def leave(call: Call) -> Succeeded:
    await call.services.chats.leave(call.caller, call.id())
    return {"success": True}


async def mute(call: Call[MuteChat]) -> ChatDocument:
    return await call.services.chats.mute(call.caller, call.id(), microseconds(call.body.until), call.body.level)

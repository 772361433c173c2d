"""Who may be shown as typing, and how often."""

from collections.abc import Awaitable

import pytest

from storage.errors import Forbidden, NotFound
from tests.conftest import Served


async def test_who_may_type_is_looked_up_once(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    service, caller = server.services.typing, server.people.caller(bob)
    first = service.report(caller, chat_id)
    assert isinstance(first, Awaitable)
    document = {"chatId": chat_id, "userId": bob.id}
    assert await first == service.report(caller, chat_id) == document


async def test_others_may_not(server: Served) -> None:
    ann, bob, eve = await server.people.many(3)
    chat_id = await ann.group(bob)
    service = server.services.typing
    await ann.patch(f"/api/v2/chats/{chat_id}/members/{bob.id}", {"role": "readonly"})
    for person, error in ((eve, NotFound), (bob, Forbidden)):
        for _ in range(2):
            report = service.report(server.people.caller(person), chat_id)
            assert isinstance(report, Awaitable), "nothing is kept of one who may not"
            with pytest.raises(error):
                await report


async def test_each_user_is_shown_once_in_an_interval(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    service = server.services.typing
    service.published.ttl = 3600
    reader = await ann.socket()
    for _ in range(3):
        report = service.report(server.people.caller(bob), chat_id)
        if isinstance(report, Awaitable):
            await report
    assert (await reader.call("app:state", {"active": True}))["isSuccess"]
    assert len(reader.named("typing")) == 1
    service.published.clear()
    service.report(server.people.caller(bob), chat_id)
    assert (await reader.call("app:state", {"active": True}))["isSuccess"]
    assert len(reader.named("typing")) == 2
    await reader.close()


async def test_typing(server: Served) -> None:
    ann, bob, cid = await server.people.many(3)
    chat_id = await ann.group(bob, cid)
    await ann.patch(f"/api/v2/chats/{chat_id}/members/{cid.id}", {"role": "readonly"})
    a, a2, b, c = await ann.socket(), await ann.socket(), await bob.socket(), await cid.socket()
    assert (await a.call("typing", {"chatId": chat_id}))["isSuccess"]
    assert await b.event("typing") == [{"chatId": chat_id, "userId": ann.id}]
    assert await c.event("typing") == [{"chatId": chat_id, "userId": ann.id}]
    assert (await c.call("typing", {"chatId": chat_id}))["statusCode"] == 403
    assert a2.named("typing") == []
    for each in (a, a2, b, c):
        await each.close()

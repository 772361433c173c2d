"""Credits: granted, moved by messages, reversed; double entries that add up, whatever comes at once."""

import asyncio
import random
from typing import Any

import pytest

from realtime.schema.bodies import Grant
from storage import credits
from storage.errors import Forbidden
from storage.transaction import Command, Tx
from tests.conftest import Served
from tests.support.people import Person

CREDITS = "/api/v1/credits"
MESSAGES = "/api/v2/messages"


async def grant(admin: Person, person: Person, amount: int, **options: Any) -> Any:
    answer = await admin.post(f"{CREDITS}/grants", {"userId": person.id, "amount": amount, **options})
    assert answer.status == 201, answer
    return answer.json["data"]


async def balance(person: Person) -> int:
    return int((await person.get(CREDITS)).json["data"]["balance"])


def transfer(to: Person, amount: Any, **options: Any) -> dict[str, Any]:
    return {"type": "creditTransfer", "targetUserId": to.id, "creditTransfer": {"amount": amount}, **options}


async def audited(server: Served) -> None:
    assert any(await server.services.database.read(credits.audit)) is False


async def test_a_transfer_is_a_message_and_moves_the_credits(either: Served) -> None:
    admin = await either.people.make(grant=["credits.grant", "admin"])
    ann, bob = await either.people.many(2)
    assert await grant(admin, ann, 100, reason="welcome") == {"balance": 100}
    giver, taker = await ann.socket(), await bob.socket()
    answer = await ann.post(MESSAGES, transfer(bob, 30, content="for lunch"))
    assert answer.status == 201
    document = answer.json
    assert document["type"] == "creditTransfer" and document["content"] == "for lunch" and document["media"] is None
    assert document["creditTransfer"] == {"amount": 30, "recipientId": bob.id, "senderId": ann.id}
    assert (await balance(ann), await balance(bob)) == (70, 30)
    assert (await giver.event("credit:balance"))[0]["balance"] == 70
    told, place = await taker.event("credit:balance")
    assert told["balance"] == 30 and place["channel"] == f"user:{bob.id}"
    heard = (await taker.event("message:new"))[0]
    assert heard == document
    (entry,) = (await bob.get(f"{CREDITS}/transactions")).json["data"]["items"]
    assert {**entry, "createdAt": 0} == {
        "id": told["transactionId"], "type": "transfer", "amount": 30, "balance": 30, "userId": ann.id,
        "messageId": document["_id"], "reason": None, "createdAt": 0,
    }  # fmt: skip
    mine = (await ann.get(f"{CREDITS}/transactions?limit=1")).json["data"]
    assert [(each["type"], each["amount"], each["userId"]) for each in mine["items"]] == [("transfer", -30, bob.id)]
    first = (await ann.get(f"{CREDITS}/transactions?cursor={mine['nextCursor']}")).json["data"]["items"]
    assert [(each["type"], each["amount"], each["userId"], each["reason"]) for each in first] == [
        ("grant", 100, None, "welcome")
    ]
    back = (await taker.call("message:send", {"type": "creditTransfer", "chatId": document["chatId"], "amount": 5}))[
        "data"
    ]
    assert back["creditTransfer"] == {"amount": 5, "recipientId": ann.id, "senderId": bob.id}
    assert (await ann.get(f"{MESSAGES}/{document['_id']}")).json["creditTransfer"] == document["creditTransfer"]
    gone = (await ann.delete(f"{MESSAGES}/{document['_id']}")).json
    assert gone["content"] is None and gone["creditTransfer"] == document["creditTransfer"], "the credits have moved"
    await audited(either)
    await asyncio.gather(giver.close(), taker.close())


async def test_what_is_refused_moves_nothing(either: Served) -> None:
    admin = await either.people.make(grant=["credits.grant"])
    ann, bob, cat = await either.people.many(3)
    outsider = await either.people.make(tenant=await either.people.tenant())
    await grant(admin, ann, 10)
    group = await ann.group(bob, cat)
    good = transfer(bob, 5)
    wrong: list[tuple[dict[str, Any], int]] = [
        (transfer(bob, 11), 409), (transfer(bob, 0), 400), (transfer(bob, -1), 400), (transfer(bob, 1.5), 400),
        (transfer(bob, "5"), 400), (transfer(bob, True), 400), (transfer(bob, None), 400), (transfer(bob, 10**18), 400),
        (transfer(ann, 5), 400), (transfer(outsider, 5), 404), ({**good, "targetUserId": "f" * 24}, 404),
        ({**good, "amount": 6}, 400), ({"type": "creditTransfer", "chatId": group, "amount": 5}, 400),
        ({**good, "chatId": group, "targetUserId": outsider.id}, 404),
        ({**good, "chatId": group, "targetUserId": ann.id}, 400),
        ({**good, "chatId": "f" * 24}, 404),
    ]  # fmt: skip
    for body, status in wrong:
        assert (await ann.post(MESSAGES, body)).status == status, body
    assert (await balance(ann), await balance(bob)) == (10, 0)
    assert (await ann.post(MESSAGES, {**good, "chatId": group})).status == 201
    assert (await ann.patch(f"/api/v2/chats/{group}/members/{bob.id}", {"role": "readonly"})).status == 200
    assert (await bob.post(MESSAGES, {**transfer(cat, 1), "chatId": group})).status == 403
    assert (await ann.post(f"{CREDITS}/grants", {"userId": ann.id, "amount": 5})).status == 403
    for body in ({}, {"userId": ann.id}, {"userId": ann.id, "amount": 0}, {"userId": "x", "amount": 1}):
        assert (await admin.post(f"{CREDITS}/grants", body)).status == 400
    for who in ("f" * 24, outsider.id):
        assert (await admin.post(f"{CREDITS}/grants", {"userId": who, "amount": 1})).status == 404
    assert (await either.people.anonymous.get(CREDITS)).status == 401
    await audited(either)


async def test_a_key_moves_credits_once(either: Served) -> None:
    admin = await either.people.make(grant=["credits.grant"])
    ann, bob = await either.people.many(2)
    keyed = {"Idempotency-Key": "g"}
    body = {"userId": ann.id, "amount": 50}
    grants = await asyncio.gather(*(admin.post(f"{CREDITS}/grants", body, headers=keyed) for _ in range(8)))
    assert {each.status for each in grants} == {201} and {each.json["data"]["balance"] for each in grants} == {50}
    assert (await admin.post(f"{CREDITS}/grants", {**body, "amount": 51}, headers=keyed)).status == 409
    sends = await asyncio.gather(
        *(ann.post(MESSAGES, transfer(bob, 20), headers={"Idempotency-Key": "t"}) for _ in range(8))
    )
    assert {each.status for each in sends} == {201} and len({each.body for each in sends}) == 1
    assert (await ann.post(MESSAGES, transfer(bob, 21), headers={"Idempotency-Key": "t"})).status == 409
    assert (await balance(ann), await balance(bob)) == (30, 20)
    await audited(either)


async def test_a_reversal_gives_back_once_with_a_message(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    ann, bob = await either.people.many(2)
    await grant(admin, ann, 10)
    message = (await ann.post(MESSAGES, transfer(bob, 10))).json
    entries = (await ann.get(f"{CREDITS}/transactions")).json["data"]["items"]
    moved, granted = (f"/api/v1/admin/credits/transactions/{each['id']}/reverse" for each in entries)
    assert (await ann.post(moved)).status == 403
    stranger = await either.people.make(grant=["admin"], tenant=await either.people.tenant())
    assert (await stranger.post(moved)).status == 404
    assert (await admin.post(granted)).status == 409, "it is not there any more"
    listener = await ann.socket()
    answers = await asyncio.gather(*(admin.post(moved) for _ in range(4)))
    assert sorted(each.status for each in answers) == [201, 409, 409, 409]
    assert (await balance(ann), await balance(bob)) == (10, 0)
    items = (await ann.get(f"{MESSAGES}?chatId={message['chatId']}")).json["items"]
    assert [each["creditTransfer"] for each in items] == [
        {"amount": 10, "recipientId": bob.id, "senderId": ann.id},
        {"amount": 10, "recipientId": ann.id, "senderId": bob.id, "reversal": True},
    ]
    assert (await listener.event("message:new"))[0] == items[1]
    back = (await ann.get(f"{CREDITS}/transactions")).json["data"]["items"][0]
    assert (back["type"], back["amount"], back["messageId"]) == ("reversal", 10, items[1]["_id"])
    assert (await admin.post(f"/api/v1/admin/credits/transactions/{back['id']}/reverse")).status == 409
    assert (await admin.post(granted)).status == 201 and await balance(ann) == 0
    await audited(either)


async def test_many_at_once_add_up(either: Served) -> None:
    admin = await either.people.make(grant=["credits.grant"])
    people = await either.people.many(8)
    await asyncio.gather(*(grant(admin, each, 100) for each in people))
    dice = random.Random(3)

    async def send(number: int) -> tuple[int, bytes]:
        giver, taker = dice.sample(people, 2)
        body = transfer(taker, dice.randint(1, 60), clientMessageId=f"k{number}")
        answers = await asyncio.gather(*(giver.post(MESSAGES, body) for _ in range(dice.randint(1, 3))))
        assert len({each.status for each in answers}) == 1 or {each.status for each in answers} == {201, 409}
        good = {each.body for each in answers if each.status == 201}
        assert len(good) <= 1
        return answers[0].status, next(iter(good), b"")

    results = await asyncio.gather(*(send(number) for number in range(150)))
    assert {status for status, _ in results} <= {201, 409}
    assert sum([await balance(each) for each in people]) == 800
    await audited(either)


@pytest.mark.parametrize("fields", [{"amount": "5"}, {"creditTransfer": '{"amount": 5}'}])
async def test_a_transfer_as_a_form(server: Served, fields: dict[str, str]) -> None:
    import aiohttp

    admin = await server.people.make(grant=["credits.grant"])
    ann, bob = await server.people.many(2)
    await grant(admin, ann, 10)
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in {"type": "creditTransfer", "targetUserId": bob.id, **fields}.items():
        form.add_field(name, value)
    answer = await ann.post(MESSAGES, data=form)
    assert answer.status == 201 and answer.json["creditTransfer"]["amount"] == 5


@pytest.mark.parametrize(
    ("damage", "figure"),
    [
        ("UPDATE credit_accounts SET balance = 11 WHERE user_pk IS NOT NULL AND balance > 5", "accounts"),
        ("UPDATE credit_transactions SET amount = 99", "transactions"),
        ("UPDATE credit_entries SET balance = 12345", "accounts"),
        ("DELETE FROM credit_entries WHERE amount < 0", "transactions"),
        ("UPDATE credit_transactions SET message_id = NULL", "messages"),
    ],
)
async def test_the_audit_finds_what_does_not_add_up(server: Served, damage: str, figure: str) -> None:
    from sqlalchemy import text

    from storage.transaction import Command

    admin = await server.people.make(grant=["credits.grant"])
    ann, bob = await server.people.many(2)
    await grant(admin, ann, 10)
    assert (await ann.post(MESSAGES, transfer(bob, 3))).status == 201
    await audited(server)
    await server.services.database.write(Command(lambda tx: tx.execute(text(damage))))
    audit = await server.services.database.read(credits.audit)
    assert getattr(audit, figure) > 0


async def test_who_can_not_take_credits(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    ann, bob = await either.people.many(2)
    await grant(admin, ann, 10)
    assert (await ann.post(MESSAGES, transfer(bob, 1))).status == 201
    assert (await admin.post(f"/api/v1/admin/users/{bob.id}/ban")).status == 200
    assert (await ann.post(MESSAGES, transfer(bob, 1))).status == 409
    assert (await admin.post(f"{CREDITS}/grants", {"userId": bob.id, "amount": 1})).status == 409
    assert await balance(ann) == 9


async def test_the_text_of_a_transfer_stays(server: Served) -> None:
    admin = await server.people.make(grant=["admin"])
    ann, bob = await server.people.many(2)
    await grant(admin, ann, 10)
    sent = (await ann.post(MESSAGES, transfer(bob, 10, content="a loan"))).json
    assert (await ann.patch(f"{MESSAGES}/{sent['_id']}", {"content": "a gift"})).status == 409
    moved = (await ann.get(f"{CREDITS}/transactions")).json["data"]["items"][0]["id"]
    assert (await admin.post(f"/api/v1/admin/credits/transactions/{moved}/reverse")).status == 201
    back = (await bob.get(f"{MESSAGES}?chatId={sent['chatId']}")).json["items"][-1]
    assert back["creditTransfer"]["reversal"] is True
    assert (await bob.patch(f"{MESSAGES}/{back['_id']}", {"content": "my own will"})).status == 409
    assert (await bob.delete(f"{MESSAGES}/{back['_id']}")).status == 409


async def test_fields_of_a_transfer_count_in_one_alone(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    nothing: list[dict[str, Any]] = [
        {"amount": 0},
        {"amount": ""},
        {"creditTransfer": {}},
        {"creditTransfer": ""},
        {"creditTransfer": {"amount": 5}},
    ]
    for unused in nothing:
        sent = await ann.send(chat, **unused)
        assert sent["creditTransfer"] is None


async def test_more_than_a_tenant_can_hold(either: Served) -> None:
    admin = await either.people.make(grant=["credits.grant"])
    ann, bob = await either.people.many(2)

    def issue(tx: Tx) -> str:
        users: dict[str, Any] = {"taker": ann.user.pk, "creator_pk": admin.user.pk}
        return credits.move(tx, ann.user.tenant_pk, kind="grant", amount=10**18 - 1, giver=None, **users)

    await either.services.database.write(Command(issue))
    await grant(admin, bob, 1)
    assert (await admin.post(f"{CREDITS}/grants", {"userId": bob.id, "amount": 1})).status == 409
    assert (await balance(ann), await balance(bob)) == (10**18 - 1, 1)
    assert (await bob.post(MESSAGES, transfer(ann, 1))).status == 201, "transfers go on"
    await audited(either)


async def test_the_service_asks_for_the_right_itself(server: Served) -> None:
    """Whoever calls it: the route is not the only way."""
    ann, bob = await server.people.many(2)
    granter = await server.people.make(grant=["credits.grant"])
    assert (await granter.post("/api/v1/credits/grants", {"userId": bob.id, "amount": 5})).status == 201
    (entry,) = (await bob.get("/api/v1/credits/transactions")).json["data"]["items"]
    service, caller = server.services.credits, server.people.caller(ann)
    with pytest.raises(Forbidden):
        await service.grant(caller, Grant(userId=bob.id, amount=1))
    with pytest.raises(Forbidden):
        await service.reverse(caller, entry["id"])
    assert (await bob.get("/api/v1/credits")).json["data"]["balance"] == 5

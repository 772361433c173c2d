"""Every view of the pages, with something in it: for pictures, and for tests that look at all of them."""

import io
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
from PIL import Image
from playwright.async_api import FilePayload

from server.nodes import nodes_of
from storage.types import SECOND, now
from tests.browser.visitor import Visitor
from tests.support.people import People, Person


def photo() -> bytes:
    file = io.BytesIO()
    sky = Image.linear_gradient("L").resize((960, 640))
    tones = (sky.point(lambda it: it // 3), sky.point(lambda it: 60 + it // 2), sky.point(lambda it: 255 - it // 4))
    Image.merge("RGB", tones).save(file, "JPEG")
    return file.getvalue()


async def populate(people: People, mark: str = "") -> tuple[Person, Person]:
    """An administrator, and a user with chats of every kind; ``mark`` ends every text that a user can choose."""
    admin = await people.make(
        "Root Admin" + mark, permissions=["admin"], grant=["admin", "streams.manage", "users.manage"]
    )
    names = ("Deniz Aydın", "Elif Öz", "Marta Nowak", "John Smith", "Priya Rao")
    deniz, elif_, marta, john, priya = [await people.make(name + mark) for name in names]
    await admin.post("/api/v1/credits/grants", {"userId": deniz.id, "amount": 250, "reason": "welcome" + mark})
    hike = await deniz.group(elif_, marta, john, priya, name="Sunday walk" + mark)
    await deniz.patch(f"/api/v2/chats/{hike}", {"name": "Sunday hike" + mark})
    await john.post(f"/api/v2/chats/{hike}/leave")
    await deniz.post(f"/api/v2/chats/{hike}/members", {"userIds": [john.id]})
    first = await elif_.send(hike, "Who brings the **map**? The route is at https://example.org/hike" + mark)
    await elif_.send(hike, "And the *snacks*:\n- apples\n- bread\n- cheese" + mark)
    root = await marta.send(hike, "I can bring the map." + mark)
    await john.send(hike, "Where do we meet?" + mark, threadId=root["_id"])
    await marta.send(hike, "At the station, at nine." + mark, threadId=root["_id"])
    await deniz.send(hike, "Great! I have a new stove: `1.2 kW`" + mark)
    await deniz.send(hike, "It boils a litre in three minutes." + mark, replyTo=first["_id"])
    await elif_.post("/api/v2/messages", {"type": "text", "chatId": hike, "forwardOf": root["_id"]})
    await upload(marta, hike, "lake.jpg" + mark, photo(), "image/jpeg", caption="The lake" + mark)
    await upload(john, hike, "route" + mark + ".pdf", b"%PDF-1.4 route", "application/pdf")
    for person, key in ((elif_, "👍"), (john, "👍"), (marta, "❤️")):
        await person.put(f"/api/v2/messages/{first['_id']}/reactions/{key}")
    await deniz.put(f"/api/v2/messages/{root['_id']}/pin", {})
    await priya.send(hike, f"> Where do we meet?\n@Deniz Aydın{mark} can you send the place?", mentions=[deniz.id])
    for number, (person, text) in enumerate(
        ((john, "The plan for May"), (priya, "Lunch?"), (marta, "See you tomorrow"))
    ):
        await person.send(
            await person.group(deniz, name=("Planning", "Lunch club", "Choir")[number] + mark), text + mark
        )
    await elif_.post("/api/v2/messages", {"type": "text", "targetUserId": deniz.id, "content": "Good morning!" + mark})
    for title, message in (
        ("Your order was sent", "It arrives on Friday."),
        ("New follower", "Elif follows you now."),
    ):
        body = {
            "userId": deniz.id,
            "type": "info",
            "category": "orders" + mark[:50],
            "title": title + mark,
            "message": message + mark,
        }
        answer = await admin.post("/api/v1/notifications", body)
        assert answer.status == 201, answer
    await deniz.post("/api/v2/messages", {"type": "creditTransfer", "targetUserId": elif_.id, "amount": 30})
    await deniz.post("/api/v1/users/me/blocks", {"userId": priya.id})
    await admin.post("/api/v1/streams", {"title": "Launch night" + mark, "startsAt": "2999-01-01T19:00:00Z"})
    await marta.post(f"/api/v2/messages/{first['_id']}/report", {"reason": "advertising" + mark})
    await deniz.post(f"/api/v2/chats/{hike}/members/{priya.id}/ban", {"reason": "advertising" + mark})
    await admin.put("/api/v1/admin/word-lists/adverts", {"words": ["casino"], "action": "flag"})
    await admin.post("/api/v1/admin/webhooks", {"url": "https://example.org/hook", "events": ["push:failed"]})
    await admin.post("/api/v1/admin/broadcasts", {"title": "Maintenance" + mark, "message": "Tonight at ten" + mark})
    for seconds in (25, 15, 5):
        await people.services.figure_history.record(await nodes_of(people.services), now() - seconds * SECOND)
        await admin.get("/api/v1/users/me")
    return admin, deniz


async def upload(person: Person, chat: str, name: str, data: bytes, type: str, caption: str = "") -> None:
    form = aiohttp.FormData({"type": "media", "chatId": chat, "content": caption})
    form.add_field("file", data, filename=name, content_type=type)
    answer = await person.request("POST", "/api/v2/messages", data=form)
    assert answer.status == 201, answer


async def views(visitor: Visitor, url: str) -> AsyncIterator[str]:
    """Each view of the chat page, once it is shown."""
    page = visitor.page
    if not await page.locator(".rail").is_visible():
        await page.goto(f"{url}/#/chats")
    await page.wait_for_selector(".chats a")
    yield "chats"
    await page.click("button[aria-label='New group']")
    await page.wait_for_selector("dialog[open]")
    yield "new-group"
    await page.keyboard.press("Escape")
    await page.click(".chats a:has-text('Sunday hike')")
    await page.wait_for_selector(".message")
    yield "chat"
    async for view in views_of_a_chat(visitor):
        yield view
    shown = {
        "notifications": "Your order was sent",
        "streams": "Launch night",
        "credits": "welcome",
        "settings": "Sessions",
    }
    for place, text in shown.items():
        await page.goto(f"{url}/#/{place}")
        await page.wait_for_selector(f".place :text('{text}')")
        yield place
    await page.goto(f"{url}/#/chats")
    await page.fill(".find input", "map")
    await page.wait_for_selector(".hits a")
    yield "search"


class View(NamedTuple):
    """What a click on ``button`` opens, seen by ``shown``, and how many times Escape closes it."""

    name: str
    button: str
    shown: str
    escapes: int = 1


# Over an open group, or beside it, each from where the one before was left.
OF_A_CHAT = (
    View("menu", ".message:has-text('I can bring'):not(:has(.forwarded)) .open-menu", ".menu:popover-open", 0),
    View("forward", ".menu button:has-text('Forward')", "dialog[open]"),
    View("emoji", "button[aria-label=Emoji]", ".emoji .grid button"),
    View("lightbox", ".message .thumbnail", "dialog.lightbox img"),
    View("credits-sending", "button[aria-label='Send credits']", "dialog input[name=amount]"),
    View("members", ".conversation > header button[aria-label=More]", "dialog[open]", 0),
    View("invite", "dialog button:has-text('Show invite link')", "dialog input.link", 0),
    View("profile", "dialog .name:has-text('Marta')", "dialog .profile"),
    View("question", "dialog button:has-text('Leave')", "dialog:has-text('Leave this')", 2),
    View("thread", ".replies", ".panel .message", 0),
)


async def views_of_a_chat(visitor: Visitor) -> AsyncIterator[str]:
    page = visitor.page
    file: FilePayload = {"name": "lake.jpg", "mimeType": "image/jpeg", "buffer": photo()}
    await page.set_input_files("input[type=file]", file)
    await page.wait_for_selector(".files img")
    yield "file"
    await page.keyboard.press("Escape")
    for view in OF_A_CHAT:
        # Focused first, as some buttons are seen on hover or focus alone.
        await page.locator(view.button).first.focus()
        await page.locator(view.button).first.click()
        await page.wait_for_selector(view.shown)
        yield view.name
        for _ in range(view.escapes):
            await page.keyboard.press("Escape")


async def monitor_views(visitor: Visitor, url: str) -> AsyncIterator[str]:
    page = visitor.page
    await page.goto(f"{url}/monitor")
    await page.wait_for_selector(".plot canvas")
    shown = {
        "overview": "Connections", "nodes": "Started", "pushes": "No failed pushes", "moderation": "advertising",
        "broadcasts": "Maintenance", "webhooks": "https://example.org/hook", "audit": "word-list.change", "users": "Deniz",
        "tenant": "Registration",
    }  # fmt: skip
    for tab, text in shown.items():
        await page.goto(f"{url}/monitor#{tab}")
        if tab == "users":
            await page.fill("input[name=query]", "Deniz")
            await page.press("input[name=query]", "Enter")
        await page.wait_for_selector(f"main :text('{text}') >> visible=true")
        yield f"monitor-{tab}"

"""``python -m tests.browser shots`` takes the pictures of ``docs/screenshots``; ``… scroll`` measures a long chat.

Both serve from a folder that is thrown away.
"""

import asyncio
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, FilePayload, async_playwright

from server.app import serving
from server.nodes import nodes_of
from server.settings import Settings
from storage.types import SECOND, now
from tests.browser.visitor import Visitor, launch
from tests.support.people import People, Person

SHOTS = Path("docs/screenshots")
LONG = 10_000
WIDTHS = ((1280, 800), (768, 1024), (390, 844))
# Pictures and plots that are on their way.
SETTLING_SECONDS = 0.4
# A frame at sixty in a second takes 16.7 ms; what takes three is seen.
JANK_MS = 50

SCROLL = """
async () => {
  const scroller = document.querySelector(".scroller");
  const top = -(scroller.scrollHeight - scroller.clientHeight);
  const frames = [], tasks = [];
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((each) => each.duration)))
    .observe({ type: "longtask" });
  scroller.scrollTop = top;
  await new Promise((resolve) => setTimeout(resolve, 500));
  let last = performance.now();
  for (let place = top; place < 0; place += 1200) {
    scroller.scrollTop = place;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  frames.sort((one, other) => one - other);
  const at = (part) => Math.round(10 * frames[Math.min(frames.length - 1, Math.floor(part * frames.length))]) / 10;
  return { frames: frames.length, p50_ms: at(0.5), p99_ms: at(0.99), longest_ms: at(1), long_tasks: tasks.length };
}
"""


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[tuple[People, str, Browser]]:
    """A server with people, its URL, and a browser."""
    with tempfile.TemporaryDirectory() as folder:
        many = {"max_sends_per_second": 10**6, "max_sends_at_once": 10**6}
        settings: dict[str, Any] = {"data_dir": Path(folder), "port": 0, "log_level": "WARNING", **many}
        async with (
            serving(Settings(_env_file=None, **settings)) as services,
            People(services) as people,
            async_playwright() as playwright,
        ):
            browser = await launch(playwright)
            yield people, services.address, browser
            await browser.close()


async def scroll() -> None:
    async with stage() as (people, url, browser):
        ann, bob = await people.make("Ann"), await people.make("Bob")
        chat = await ann.group(bob, name="Long")
        texts = ["short", "a line that is a little longer than the others are " * 3, "two\nlines"]
        for start in range(0, LONG, 100):
            await asyncio.gather(*(ann.send(chat, f"{start + index} {texts[index % 3]}") for index in range(100)))
        visitor = await Visitor.come(browser, url)
        began = time.perf_counter()
        await visitor.page.goto(url)
        await visitor.page.wait_for_selector("button[name=action]")
        print(f"first page usable after {(time.perf_counter() - began) * 1e3:.0f} ms")
        await visitor.enter_as(bob)
        began = time.perf_counter()
        await visitor.page.reload()
        await visitor.open_chat("Long")
        await visitor.page.wait_for_selector(".message")
        print(f"chat of {LONG} messages open after {(time.perf_counter() - began) * 1e3:.0f} ms, from a reload on")
        count = "document.querySelectorAll('.message').length"
        while await visitor.page.evaluate(count) < LONG:
            await visitor.page.evaluate("document.querySelector('.scroller').scrollTop = -1e9")
            await asyncio.sleep(0.02)
        print("all of them loaded; scrolled through:", await visitor.page.evaluate(SCROLL))
        began = time.perf_counter()
        sent = await ann.send(chat, "the last of all")
        await visitor.page.wait_for_selector(f"#m-{sent['_id']}", state="attached")
        print(f"one more is there after {(time.perf_counter() - began) * 1e3:.0f} ms")
        print(f"({JANK_MS} ms and more in a frame would be seen)")


def photo() -> bytes:
    file = io.BytesIO()
    sky = Image.linear_gradient("L").resize((960, 640))
    tones = (sky.point(lambda it: it // 3), sky.point(lambda it: 60 + it // 2), sky.point(lambda it: 255 - it // 4))
    Image.merge("RGB", tones).save(file, "JPEG")
    return file.getvalue()


async def populate(people: People) -> tuple[Person, Person]:
    """An administrator, and a user with chats of every kind."""
    admin = await people.make("Root Admin", permissions=["admin"], grant=["admin", "streams.manage", "users.manage"])
    names = ("Deniz Aydın", "Elif Öz", "Marta Nowak", "John Smith", "Priya Rao")
    deniz, elif_, marta, john, priya = [await people.make(name) for name in names]
    await admin.post("/api/v1/credits/grants", {"userId": deniz.id, "amount": 250, "reason": "welcome"})
    hike = await deniz.group(elif_, marta, john, priya, name="Sunday hike")
    first = await elif_.send(hike, "Who brings the **map**? The route is at https://example.org/hike")
    await elif_.send(hike, "And the *snacks*:\n- apples\n- bread\n- cheese")
    root = await marta.send(hike, "I can bring the map.")
    await john.send(hike, "Where do we meet?", threadId=root["_id"])
    await marta.send(hike, "At the station, at nine.", threadId=root["_id"])
    await deniz.send(hike, "Great! I have a new stove: `1.2 kW`")
    for person, key in ((elif_, "👍"), (john, "👍"), (marta, "❤️")):
        await person.put(f"/api/v2/messages/{first['_id']}/reactions/{key}")
    await deniz.put(f"/api/v2/messages/{root['_id']}/pin", {})
    await priya.send(hike, "> Where do we meet?\n@Deniz Aydın can you send the place?", mentions=[deniz.id])
    for number, (person, text) in enumerate(
        ((john, "The plan for May"), (priya, "Lunch?"), (marta, "See you tomorrow"))
    ):
        await person.send(await person.group(deniz, name=("Planning", "Lunch club", "Choir")[number]), text)
    await elif_.post("/api/v2/messages", {"type": "text", "targetUserId": deniz.id, "content": "Good morning!"})
    for title, message in (
        ("Your order was sent", "It arrives on Friday."),
        ("New follower", "Elif follows you now."),
    ):
        body = {"userId": deniz.id, "type": "info", "category": "orders", "title": title, "message": message}
        await admin.post("/api/v1/notifications", body)
    await admin.post("/api/v1/streams", {"title": "Launch night", "startsAt": "2999-01-01T19:00:00Z"})
    await marta.post(f"/api/v2/messages/{first['_id']}/report", {"reason": "advertising"})
    return admin, deniz


async def views(visitor: Visitor, url: str) -> AsyncIterator[str]:
    """Each view of the chat page, once it is shown."""
    page = visitor.page
    if not await page.locator(".rail").is_visible():
        await page.goto(f"{url}/#/chats")
    await page.wait_for_selector(".chats a")
    yield "chats"
    await page.click(".chats a:has-text('Sunday hike')")
    await page.wait_for_selector(".message")
    yield "chat"
    menu = page.locator(".message:has-text('I can bring') .open-menu")
    await menu.focus()
    await menu.click()
    await page.wait_for_selector(".menu:popover-open")
    yield "menu"
    await page.keyboard.press("Escape")
    await page.click("button[aria-label=Emoji]")
    await page.wait_for_selector(".emoji .grid button")
    yield "emoji"
    await page.keyboard.press("Escape")
    file: FilePayload = {"name": "lake.jpg", "mimeType": "image/jpeg", "buffer": photo()}
    await page.set_input_files("input[type=file]", file)
    await page.wait_for_selector(".files img")
    yield "file"
    await page.keyboard.press("Escape")
    await page.click(".replies")
    await page.wait_for_selector(".panel .message")
    yield "thread"
    await page.click(".panel button[aria-label=Close]")
    await page.click(".conversation > header button[aria-label=More]")
    await page.wait_for_selector("dialog[open]")
    yield "members"
    await page.keyboard.press("Escape")
    await page.fill(".composer textarea", "")
    await page.click("button[aria-label='Send credits']")
    await page.wait_for_selector("dialog input[name=amount]")
    yield "credits-sending"
    await page.keyboard.press("Escape")
    for place in ("notifications", "streams", "credits", "settings"):
        await page.goto(f"{url}/#/{place}")
        await page.wait_for_selector("aside h2")
        yield place
    await page.goto(f"{url}/#/chats")
    await page.fill(".find input", "map")
    await page.wait_for_selector(".hits a")
    yield "search"


async def monitor_views(visitor: Visitor, url: str) -> AsyncIterator[str]:
    page = visitor.page
    await page.goto(f"{url}/monitor")
    await page.wait_for_selector(".plot canvas")
    for tab in ("overview", "nodes", "pushes", "moderation", "broadcasts", "webhooks", "audit", "users", "tenant"):
        await page.goto(f"{url}/monitor#{tab}")
        await page.wait_for_selector("main h2")
        yield f"monitor-{tab}"


async def shots() -> None:
    """Every view at three widths, light and dark; and some in Turkish."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for old in SHOTS.iterdir():
        old.unlink()
    async with stage() as (people, url, browser):
        admin, deniz = await populate(people)
        figures = people.services.figure_history
        for seconds in (25, 15, 5):
            await figures.record(await nodes_of(people.services), now() - seconds * SECOND)
            for _ in range(20):
                await admin.get("/api/v1/users/me")
        for width, height in WIDTHS:
            for scheme in ("light", "dark"):
                name = f"{width}-{scheme}"
                options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
                stranger = await Visitor.come(browser, url, **options)
                await stranger.page.goto(url)
                await stranger.page.wait_for_selector("button[name=action]")
                await shot(stranger, f"enter-{name}")
                await stranger.context.close()
                for person, permissions, seen in ((deniz, [], views), (admin, ["admin"], monitor_views)):
                    visitor = await Visitor.come(browser, url, **options)
                    await visitor.enter_as(person, permissions)
                    async for view in seen(visitor, url):
                        await shot(visitor, f"{view}-{name}")
                    await visitor.context.close()
        turkish = await Visitor.come(browser, url, locale="tr-TR")
        await turkish.enter_as(deniz)
        await turkish.page.click(".chats a:has-text('Sunday hike')")
        await turkish.page.wait_for_selector(".message")
        await shot(turkish, "chat-turkish")
        print(len(list(SHOTS.iterdir())), "pictures in", SHOTS)


async def shot(visitor: Visitor, name: str) -> None:
    """Kept with few colours, which is enough to see everything and a quarter of the bytes."""
    await asyncio.sleep(SETTLING_SECONDS)
    picture = Image.open(io.BytesIO(await visitor.page.screenshot()))
    picture.convert("RGB").quantize(96).save(SHOTS / f"{name}.png", optimize=True)


if __name__ == "__main__":
    asyncio.run({"shots": shots, "scroll": scroll}[sys.argv[1]]())

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
from playwright.async_api import Browser, FilePayload, async_playwright, expect

from server.app import serving
from server.settings import Settings
from tests.browser.visitor import Visitor, launch
from tests.support.people import People

SHOTS = Path("docs/screenshots")
LONG = 10_000
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


async def shots() -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    async with stage() as (people, url, browser):
        admin = await people.make("Root", permissions=["admin"], grant=["admin", "streams.manage"])
        ann = await Visitor.come(browser, url)
        ann_id = await ann.register("Deniz")
        bob = await Visitor.come(
            browser, url, locale="tr-TR", color_scheme="dark", viewport={"width": 390, "height": 844}
        )
        await bob.register("Elif")
        await admin.post("/api/v1/credits/grants", {"userId": ann_id, "amount": 250, "reason": "welcome"})
        hike = {"type": "group", "name": "Sunday hike", "memberIds": [ann_id]}
        group = (await admin.post("/api/v2/chats", hike)).json["_id"]
        await admin.send(group, "Who brings the map?")
        for title, message in (
            ("Your order was sent", "It arrives on Friday."),
            ("New follower", "Elif follows you now."),
        ):
            body = {"userId": ann_id, "type": "info", "category": "orders", "title": title, "message": message}
            await admin.post("/api/v1/notifications", body)
        await admin.post("/api/v1/streams", {"title": "Launch night", "startsAt": "2999-01-01T19:00:00Z"})
        await ann.chat_with("Elif")
        await bob.open_chat("Deniz")
        await ann.say("Good morning! Look what I found yesterday.")
        file: FilePayload = {"name": "lake.jpg", "mimeType": "image/jpeg", "buffer": photo()}
        await ann.send_file(file, "The lake at noon")
        await expect(bob.page.locator(".thumbnail img")).to_have_js_property("naturalWidth", 320)
        await bob.say("Beautiful. Lunch is on me?")
        await ann.page.click("button[aria-label='Send credits']")
        await ann.page.fill("dialog input[name=amount]", "30")
        await ann.page.click("dialog button:has-text('Next')")
        await ann.page.screenshot(path=SHOTS / "transfer.png")
        await ann.page.click("dialog form button:has-text('Send credits')")
        await bob.page.wait_for_selector(".credits")
        await asyncio.sleep(0.5)
        await ann.page.screenshot(path=SHOTS / "chat.png")
        await bob.page.screenshot(path=SHOTS / "phone-dark-turkish.png")
        await ann.page.click('.rail a[href="#/notifications"]')
        await ann.page.screenshot(path=SHOTS / "notifications.png")
        monitor = await Visitor.come(browser, url)
        await monitor.enter_as(admin, ["admin"])
        await monitor.page.goto(f"{url}/monitor")
        for _ in range(40):
            await asyncio.gather(*(admin.send(group, "…") for _ in range(5)))
            await asyncio.sleep(0.3)
        await monitor.page.screenshot(path=SHOTS / "monitor.png")
        print(*sorted(SHOTS.iterdir()), sep="\n")


if __name__ == "__main__":
    asyncio.run({"shots": shots, "scroll": scroll}[sys.argv[1]]())

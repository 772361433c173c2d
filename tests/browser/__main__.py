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
from playwright.async_api import Browser, async_playwright

from server.app import serving
from server.settings import Settings
from tests.browser.views import monitor_views, populate, views
from tests.browser.visitor import Visitor, launch
from tests.support.people import People

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
        many = {
            f"max_{each}": 10**6 for each in ("sends_per_second", "sends_at_once", "units_per_second", "units_at_once")
        }
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
        newest = (await bob.get(f"/api/v2/messages?chatId={chat}&limit=1")).json["items"][0]
        await bob.post(f"/api/v2/messages/{newest['_id']}/read")
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


async def shots() -> None:
    """Every view at three widths, light and dark; and some in Turkish."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for old in SHOTS.iterdir():
        old.unlink()
    async with stage() as (people, url, browser):
        admin, deniz = await populate(people)
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
    """Kept with 256 colours, for half of the bytes."""
    await asyncio.sleep(SETTLING_SECONDS)
    picture = Image.open(io.BytesIO(await visitor.page.screenshot()))
    picture.convert("RGB").quantize(256).save(SHOTS / f"{name}.png", optimize=True)


if __name__ == "__main__":
    asyncio.run({"shots": shots, "scroll": scroll}[sys.argv[1]]())

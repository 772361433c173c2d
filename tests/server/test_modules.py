"""What pages load: all their modules are named before the script, and each exists."""

import re

import pytest

from server import pages
from tests.conftest import Served
from tests.support.people import Answer

PAGES = ("/", "/monitor", "/docs/socket")
LINK = re.compile(r'<link rel="modulepreload" href="([^"]+)">')


async def page(server: Served, path: str) -> Answer:
    answer = await server.people.anonymous.get(path)
    assert answer.status == 200
    return answer


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_names_its_modules(server: Served, path: str) -> None:
    text = (await page(server, path)).body.decode()
    named = LINK.findall(text)
    assert len(set(named)) == len(named) > 1
    map_at, links_at, script_at = text.index("importmap"), text.index("modulepreload"), text.index('type="module"')
    assert map_at < links_at < script_at
    for url in named:
        assert (await server.people.anonymous.get(url)).status == 200, url


async def test_all_modules_of_the_chat_page_and_no_others_are_named(server: Served) -> None:
    """Those of the monitor are not; nor what is loaded when it is needed."""
    named = LINK.findall((await page(server, "/")).body.decode())
    own = {url for url, _ in pages.files() if url.startswith("/static/js/")}
    monitor = {url for url in own if re.match(r"/static/js/(monitor|reference|docs)", url)}
    assert {url for url in named if url.startswith("/static/")} == own - monitor - {"/static/js/app.js"}
    assert {"/client/index.js", "/vendor/htm.js", "/vendor/icons.js"} <= set(named)
    assert "/vendor/emoji.json" not in named

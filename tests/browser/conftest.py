"""A real browser: the system's Chromium."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.visitor import Visitor, launch
from tests.conftest import Served
from tests.support.proxy import Proxy

Visit = Callable[..., Awaitable[Visitor]]


@dataclass
class Cuttable:
    """``way`` is where connections lead, None while the network is cut."""

    there: tuple[str, int]
    url: str = ""

    def __post_init__(self) -> None:
        self.way: tuple[str, int] | None = self.there
        self.proxy: Proxy

    def cut(self) -> None:
        self.way = None
        self.proxy.cut()

    def heal(self) -> None:
        self.way = self.there


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        made = await launch(playwright)
        yield made
        await made.close()


@pytest.fixture
async def visit(server: Served, browser: Browser) -> AsyncIterator[Visit]:
    """Open the server's page, or what ``url`` names; at the end no page has complained."""
    visitors: list[Visitor] = []

    async def come(url: str | None = None, **options: Any) -> Visitor:
        visitors.append(await Visitor.come(browser, url or server.url, **options))
        return visitors[-1]

    yield come
    assert [each.problems for each in visitors] == [[] for _ in visitors]


@pytest.fixture
async def cuttable(server: Served) -> AsyncIterator[Cuttable]:
    """The server behind a network that can be cut."""
    address = urlsplit(server.url)
    cuttable = Cuttable((address.hostname or "", address.port or 0))
    async with Proxy(lambda: cuttable.way) as cuttable.proxy:
        cuttable.url = f"http://127.0.0.1:{cuttable.proxy.port}"
        yield cuttable

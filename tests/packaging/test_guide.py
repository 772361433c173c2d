"""The documentation site: built without a warning, its links lead somewhere, its words are spelt, and the server shows it."""

import asyncio
import html
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag

import aiohttp
import pytest

from server import pages
from tests.conftest import ServerFactory

SOURCES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    "CHANGELOG.md",
    "docs",
    "clients",
    "examples",
]
# Names of the API, which look like mistakes.
NAMES = "readby"
LINK, ANCHOR = re.compile(r'<a\b[^>]*?\bhref="([^"]+)"'), re.compile(r'\bid="([^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``make docs`` builds it: a warning is an error."""
    place = tmp_path_factory.mktemp("guide")
    options = ("--quiet", "--fail-on-warning", "--keep-going", "-d", place / "doctrees")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "docs", place / "site"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return place / "site"


def links(site: Path) -> Iterator[tuple[Path, str]]:
    for page in site.rglob("*.html"):
        for target in LINK.findall(page.read_text()):
            yield page, html.unescape(target)


def test_every_link_leads_somewhere(site: Path) -> None:
    anchors = {page: {*ANCHOR.findall(page.read_text())} for page in site.rglob("*.html")}
    wrong, seen = [], 0
    for page, target in links(site):
        if re.match(r"[a-z]+:", target):
            continue
        seen += 1
        path, anchor = urldefrag(target)
        place = (page.parent / unquote(path)).resolve() if path else page
        if not place.exists() or (anchor and place.suffix == ".html" and unquote(anchor) not in anchors[place]):
            wrong.append(f"{page.relative_to(site)}: {target}")
    assert not wrong, "\n".join(sorted(set(wrong)))
    assert seen > 5000


def test_links_to_other_sites_are_well_formed(site: Path) -> None:
    """Whether they answer is for ``sphinx -b linkcheck``, where there is a network."""
    outside = {target for _, target in links(site) if re.match(r"[a-z]+:", target)}
    assert all(re.match(r"https://[\w.-]+\.[a-z]+(/|$)|mailto:\S+@\S+$", each) for each in outside), outside


def test_every_page_is_in_the_contents(site: Path) -> None:
    contents = {target for page, target in links(site) if page == site / "index.html"}
    pages_of_site = {str(each.relative_to(site)) for each in site.rglob("*.html")}
    below = {each for each in pages_of_site if each.startswith("rest/")}
    assert pages_of_site - below - {"genindex.html", "search.html", "index.html"} <= contents


def test_every_word_is_spelt() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("codespell"), "--builtin=clear,rare", f"--ignore-words-list={NAMES}",
         "--skip=node_modules,types,screenshots", *SOURCES, "static/js/texts/en.js", "server/field_texts.py"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


async def test_the_server_shows_it(site: Path, serve: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "GUIDE", site)
    server = await serve()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{server.url}/docs/guide") as answer:
            assert str(answer.url) == f"{server.url}/docs/guide/" and "Getting started" in await answer.text()
            policy = answer.headers["Content-Security-Policy"]
            assert answer.content_type == "text/html" and "script-src 'self' 'sha256-" in policy
            assert "form-action 'self'" in policy, "its search is a form"

        async def status(path: str) -> int:
            async with session.get(f"{server.url}/docs/guide/{path}") as answer:
                await answer.read()
                return answer.status

        wanted = [
            each.relative_to(site) for each in site.rglob("*.*") if each.suffix in (".html", ".js", ".css", ".png")
        ]
        assert set(await asyncio.gather(*(status(str(each)) for each in wanted))) == {200}
        assert await status("nothing.html") == 404


async def test_where_it_is_not_built_it_says_how(
    serve: ServerFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pages, "GUIDE", tmp_path)
    answer = await (await serve()).people.anonymous.get("/docs/guide")
    assert answer.status == 404 and "make docs" in answer.body.decode()


@pytest.mark.parametrize("name", ["docs.html", "socket.html"])
def test_the_references_link_to_it_where_it_is_built(
    site: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    link = b'<a href="/docs/guide">'
    for place, linked in ((site, True), (tmp_path, False)):
        monkeypatch.setattr(pages, "GUIDE", place)
        html = pages.reference_page(pages.STATIC / name)
        assert (link in html) is linked and b'id="reference"' in html

"""The pages of all routes and events: they are those that the code makes, and their requests are good ones."""

import itertools
import re
import shlex
from pathlib import Path

import aiohttp
import pytest

from realtime.namespace import INBOUND
from realtime.schema.events import OUTBOUND
from server import reference, samples
from server.routes import ROUTES
from tests.conftest import ServerFactory
from tests.support.files import encoded

# What they ask for is not there, or not theirs; nothing is wrong with how they ask.
GOOD = {200, 201, 403, 404, 409}
# Wrong passwords and tokens that are not known any more.
REFUSED = ("/auth/login", "/auth/refresh", "/auth/logout")
PAGES = reference.pages()
# A path, and the heading that it has.
HEADING = re.compile(r"^## `(\w+ \S+)`$", re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_the_newest(name: str) -> None:
    assert (Path("docs") / name).read_text() == PAGES[name], "run: python -m server.reference"


def test_nothing_else_is_beside_them() -> None:
    assert {f"rest/{each.name}" for each in Path("docs/rest").iterdir()} == {
        name for name in PAGES if name.startswith("rest/")
    }


def test_every_route_and_event_has_its_place() -> None:
    found = [heading for name, page in PAGES.items() if name.startswith("rest/") for heading in HEADING.findall(page)]
    assert sorted(found) == sorted(f"{route.method} {route.path}" for route in ROUTES)
    events = re.findall(r"^### `(\S+)`$", PAGES["socket.md"], re.MULTILINE)
    assert events == [*INBOUND, *OUTBOUND]
    webhooks = re.findall(r"^## `(\S+)`$", PAGES["webhook-calls.md"], re.MULTILINE)
    assert webhooks == [*samples.everything()["webhooks"]]


async def test_their_requests_are_good(serve: ServerFactory) -> None:
    server = await serve()
    wrong, tried = [], 0
    for name, page in PAGES.items():
        for block in re.findall(r"```sh\n(curl .*?)\n```", page, re.DOTALL) if name.startswith("rest/") else ():
            # Requests such as one that ends all sessions leave the next one alone.
            admin = await server.people.make(grant=["admin", "platform.admin"])
            command = shlex.split(block.replace("\\\n", " ").replace("$TOKEN", admin.token or ""))
            method = command[command.index("-X") + 1] if "-X" in command else "GET"
            url = next(word for word in command if word.startswith(reference.HERE)).replace(reference.HERE, server.url)
            headers = dict(word.split(": ", 1) for flag, word in itertools.pairwise(command) if flag == "-H")
            data: object = command[command.index("-d") + 1] if "-d" in command else None
            if "-F" in command:
                fields = [word.split("=", 1) for flag, word in itertools.pairwise(command) if flag == "-F"]
                data = form = aiohttp.FormData({name: value for name, value in fields if name != "file"})
                form.add_field("file", encoded("PNG"), filename="a.png")
            method = "POST" if method == "GET" and data is not None else method
            tried += 1
            if (method, url.rpartition("/")[2]) == ("DELETE", "me"):
                continue
            async with admin.session.request(method, url, headers=headers, data=data) as answer:
                if answer.status not in GOOD and not (answer.status == 401 and url.endswith(REFUSED)):
                    wrong.append(f"{method} {url} {data}: {answer.status} {await answer.text()}")
    assert not wrong, "\n".join(wrong)
    assert tried >= len(ROUTES)

"""Firefox subscribes, decrypts and shows a push by itself; nothing in it is replaced but the address of its push service."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.firefox import Firefox, MozillaService
from tests.conftest import Served, ServerFactory, eventually

# What the browser says of a push that it could decrypt and has handed to the service worker.
DECRYPTED = 100
SHOWN = """(async () => {
  const registration = await navigator.serviceWorker.getRegistration("/");
  const shown = registration ? await registration.getNotifications() : [];
  return shown.length ? JSON.stringify(shown.map(({ title, body, tag }) => ({ title, body, tag }))) : null;
})()"""


@pytest.fixture
async def service() -> AsyncIterator[MozillaService]:
    async with MozillaService() as made:
        yield made


@pytest.fixture
async def server(start: ServerFactory, service: MozillaService, tmp_path: Path) -> Served:
    return await start(**service.write_files(tmp_path / "browsers"))


@pytest.fixture
async def firefox(service: MozillaService, tmp_path: Path) -> AsyncIterator[Firefox]:
    async with Firefox(tmp_path / "profile", service.socket_url) as made:
        yield made


async def click(firefox: Firefox, text: str) -> None:
    await firefox.until(f"!![...document.querySelectorAll('button')].find((each) => each.innerText === {text!r})")
    await firefox.run(f"[...document.querySelectorAll('button')].find((each) => each.innerText === {text!r}).click()")


async def test_a_message_is_shown(server: Served, service: MozillaService, firefox: Firefox) -> None:
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    user = {"id": bob.id, "name": "Bob", "permissions": []}
    login = {"user": user, "access": bob.token, "refresh": "", "expires": 2**53}
    await firefox.goto(server.url)
    await firefox.run(f"localStorage['bellwire.login'] = {json.dumps(json.dumps(login))}")
    await firefox.goto("about:blank")
    await firefox.goto(f"{server.url}/#/settings")
    await click(firefox, "Show notifications on this device")
    await eventually(lambda: service.channels)
    # The page knows it, too.
    await firefox.until("document.body.innerText.includes('Stop notifications on this device')")
    (device,) = (await bob.get("/api/v1/devices")).json["data"]["items"]
    assert device["platform"] == "web" and device["pushable"] and device["features"] == ["live.ongoing"]
    await firefox.goto("about:blank")
    sent = await ann.post("/api/v2/messages", {"type": "text", "targetUserId": bob.id, "content": "hello"})
    await eventually(lambda: service.codes)
    assert service.codes == [DECRYPTED]
    await firefox.goto(server.url)
    shown = json.loads(await firefox.until(SHOWN))
    assert shown == [{"title": "Ann", "body": "hello", "tag": sent.json["_id"]}]
    await firefox.run("location.hash = '#/settings'")
    await click(firefox, "Stop notifications on this device")
    await eventually(lambda: not service.channels)
    assert (await bob.get("/api/v1/devices")).json["data"]["items"] == []

"""A real Firefox, driven over WebDriver BiDi, and the websocket by which it gets pushes.

https://w3c.github.io/webdriver-bidi/ and https://mozilla-push-service.readthedocs.io/en/latest/design/
"""

import asyncio
import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from push.doubles.webpush import PushService, Subscription, answer_of
from push.webpush_encryption import base64url
from tests.support.guard import HANG_SECONDS

LISTENS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
PREFERENCES: dict[str, Any] = {
    "dom.push.testing.allowInsecureServerURL": True,
    "dom.push.connection.enabled": True,
    "permissions.default.desktop-notification": 1,
    "alerts.useSystemBackend": False,
    # Nothing is on the internet.
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "browser.safebrowsing.update.enabled": False,
    "extensions.update.enabled": False,
    "toolkit.telemetry.server": "data:,",
}


class MozillaService(PushService):
    """The double with Firefox behind it: what arrives for a subscription is handed on, and the browser decrypts it."""

    def __init__(self) -> None:
        super().__init__()
        self.runner_of_sockets: web.AppRunner | None = None
        self.socket_url = ""
        self.socket: web.WebSocketResponse | None = None
        # By the browser's name of it; and what it said of each push: 100 is decrypted and handed to the page.
        self.channels: dict[str, Subscription] = {}
        self.codes: list[int] = []

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        app = web.Application()
        app.router.add_get("/", self._talk)
        self.runner_of_sockets = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner_of_sockets.setup()
        await web.TCPSite(self.runner_of_sockets, "127.0.0.1", 0).start()
        self.socket_url = f"ws://127.0.0.1:{self.runner_of_sockets.addresses[0][1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.runner_of_sockets:
            await self.runner_of_sockets.cleanup()
        await super().__aexit__()

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = self.socket = web.WebSocketResponse(protocols=["push-notification"])
        await socket.prepare(request)
        async for frame in socket:
            said: Any = json.loads(frame.data) if frame.type is aiohttp.WSMsgType.TEXT else None
            match said:
                case {"messageType": "hello"}:
                    await socket.send_json(
                        {
                            "messageType": "hello",
                            "status": 200,
                            "uaid": uuid.uuid4().hex,
                            "use_webpush": True,
                            "broadcasts": {},
                        }
                    )
                case {"messageType": "register", "channelID": channel}:
                    made = self.subscribe("mozilla", said.get("key", "").rstrip("="))
                    self.channels[channel] = made
                    answer = {"messageType": "register", "channelID": channel, "status": 200}
                    await socket.send_json({**answer, "pushEndpoint": made.endpoint})
                case {"messageType": "unregister", "channelID": channel}:
                    self.channels.pop(channel, None)
                    await socket.send_json({"messageType": "unregister", "channelID": channel, "status": 200})
                case {"messageType": "ack", "updates": updates}:
                    self.codes += [each["code"] for each in updates]
                    self.changed.set()
                case {}:
                    await socket.send_json({})
        return socket

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        subscription = self.subscriptions[request.match_info["id"]]
        problem = self._wrong_with(request, subscription, body)
        if problem:
            return answer_of("mozilla", *problem)
        channel = next(name for name, each in self.channels.items() if each is subscription)
        assert self.socket
        await self.socket.send_json(
            {
                "messageType": "notification",
                "channelID": channel,
                "version": uuid.uuid4().hex,
                "data": base64url(body),
                "headers": {"encoding": request.headers["Content-Encoding"]},
            }
        )
        self.count += 1
        return web.Response(status=201)


class Firefox:
    """``async with Firefox(folder, push_url) as firefox``: one tab, without a window."""

    def __init__(self, folder: Path, push_url: str) -> None:
        self.folder = folder
        self.push_url = push_url
        self.process: asyncio.subprocess.Process | None = None
        self.session: aiohttp.ClientSession | None = None
        self.socket: aiohttp.ClientWebSocketResponse | None = None
        self.reading: asyncio.Task[None] | None = None
        self.answers: dict[int, asyncio.Future[Any]] = {}
        self.tab = ""

    async def __aenter__(self) -> Self:
        program = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
        assert program, "no Firefox: run make install, or set FIREFOX"
        self.folder.mkdir(parents=True)
        preferences = PREFERENCES | {"dom.push.serverURL": self.push_url}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
        (self.folder / "user.js").write_text("\n".join(lines))
        self.process = await asyncio.create_subprocess_exec(
            program, "--headless", "--no-remote", "--profile", str(self.folder), "--remote-debugging-port", "0",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stderr
        async with asyncio.timeout(HANG_SECONDS):
            while not (found := LISTENS.search(line := await self.process.stderr.readline())):
                assert line, "Firefox has ended"
        self.session = aiohttp.ClientSession()
        self.socket = await self.session.ws_connect(f"{found[1].decode()}/session", max_msg_size=0)
        self.reading = asyncio.create_task(self._read())
        await self.call("session.new", capabilities={})
        tree = await self.call("browsingContext.getTree")
        self.tab = tree["contexts"][0]["context"]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.reading:
            self.reading.cancel()
        if self.session:
            await self.session.close()
        if self.process:
            self.process.kill()
            await self.process.wait()

    async def _read(self) -> None:
        assert self.socket
        async for frame in self.socket:
            said = json.loads(frame.data)
            if (answer := self.answers.pop(said.get("id") or 0, None)) and not answer.done():
                answer.set_result(said)

    async def call(self, method: str, **parameters: Any) -> Any:
        assert self.socket
        number = max(self.answers, default=0) + 1
        answer = self.answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        said = await asyncio.wait_for(answer, HANG_SECONDS)
        assert said["type"] == "success", said
        return said["result"]

    async def goto(self, url: str) -> None:
        await self.call("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    async def run(self, script: str) -> Any:
        """The value of an expression in the page, as if by a click."""
        result = await self.call(
            "script.evaluate", expression=script, target={"context": self.tab}, awaitPromise=True, userActivation=True
        )
        assert result["type"] == "success", result
        return result["result"].get("value")

    async def until(self, script: str) -> Any:
        async with asyncio.timeout(HANG_SECONDS):
            while not (found := await self.run(script)):
                await asyncio.sleep(0.1)
            return found

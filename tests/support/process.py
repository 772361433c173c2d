"""The server as a process of its own, to be stopped, killed and started again on the same data."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr

import run
from server import operator
from server.settings import Settings
from tests.support.guard import HANG_SECONDS, UNHURRIED
from tests.support.people import Api
from tests.support.program import PIPE, Program

# A peer that is gone is noticed, in the end.
DEFAULTS = {**UNHURRIED, "ping_timeout": HANG_SECONDS}
# What Python looks at before it runs anything: a fork would be too late.
SEEN_AT_START = ("LD_PRELOAD", "PYTHONPATH")
READY = re.compile(r"Bellwire is at (\S+)  .*\n")


class ServerProcess:
    """``python run.py`` on a data folder; the port stays the same over restarts.

    Where the environment has ``BROKEN``, the server is one with that fault, and with ``SHORT_PAUSES`` it does not wait
    long before it tries once more, see ``tests/faults/broken.py``.
    """

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        named = {f"BELLWIRE_{name.upper()}": str(value) for name, value in {**DEFAULTS, **settings}.items()}
        self.environment = {
            **os.environ,
            "BELLWIRE_DATA_DIR": str(data_dir),
            "BELLWIRE_PORT": "0",
            "BELLWIRE_DRAIN_SECONDS": "0",
            **named,
        }
        self.log = data_dir.with_suffix(".log")
        self.url = ""
        self.process: asyncio.subprocess.Process | Program

    async def start(self) -> str:
        """Start, and wait until it listens; its address."""
        with self.log.open("ab") as log:
            before = log.tell()
            if any(self.environment.get(name) != os.environ.get(name) for name in SEEN_AT_START):
                changed = {"BROKEN", "SHORT_PAUSES"} & self.environment.keys()
                program = [sys.executable, *(["-m", "tests.faults.broken"] if changed else ["run.py"])]
                self.process = await asyncio.create_subprocess_exec(
                    *program, env=self.environment, stdout=log, stderr=log
                )
            else:
                self.process = await Program.start(env=self.environment, stdout=log.fileno(), stderr=log.fileno())
        try:
            async with asyncio.timeout(HANG_SECONDS):
                while not (said := READY.search(self.log.read_bytes()[before:].decode())):
                    assert self.process.returncode is None, self.log.read_text()
                    await asyncio.sleep(0.02)
        except BaseException:
            await self.kill()
            raise
        self.url = said[1]
        self.environment["BELLWIRE_PORT"] = self.url.rsplit(":", 1)[1]
        return self.url

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), HANG_SECONDS)

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def command(self, *arguments: str, given: str = "") -> str:
        """A command of ``run.py`` on the same data, with this standard input; its output."""
        process = await Program.start(*arguments, env=self.environment, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        output, problem = await process.communicate(given.encode())
        if process.returncode:
            raise ChildProcessError(f"{process.returncode}: {problem.decode()}")
        return output.decode().strip()

    async def user(self, session: aiohttp.ClientSession, email: str, *options: str) -> "ProcessUser":
        """A user, with a token: as by the command line, and where the server holds the database, without a process for it."""
        if "BELLWIRE_DATABASE_URL" in self.environment:
            made = orjson.loads(await self.command("user", "add", email, *options))
            return ProcessUser(session, self.url, await self.command("token", "--user", email), made["id"])
        asked = vars(run.arguments().parse_args(["user", "add", email, *options]))
        names = ("email", "name", "password", "id", "number", "uuid", "tenant", "permissions")
        made = await self._ask("user add", {name: asked[name] for name in names})
        token = {"users": [made["id"]], "ttl": 24 * 3600, "tenant": asked["tenant"], "permissions": []}
        return ProcessUser(session, self.url, (await self._ask("token", token))[0], made["id"])

    async def _ask(self, command: str, arguments: dict[str, Any]) -> Any:
        data_dir = Path(self.environment["BELLWIRE_DATA_DIR"])
        settings = Settings(data_dir=data_dir, jwt_secret=SecretStr(self.environment.get("BELLWIRE_JWT_SECRET", "")))
        return await asyncio.to_thread(operator.ask_server, settings, command, arguments)

    async def __aenter__(self) -> "ServerProcess":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            await self.kill()


class ProcessUser(Api):
    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, id: str) -> None:
        super().__init__(session, url, token)
        self.id = id

    async def others(self, count: int) -> "list[ProcessUser]":
        """More users, made over REST; needs ``users.manage``."""
        gate = asyncio.Semaphore(20)

        async def make(number: int) -> ProcessUser:
            async with gate:
                user = (await self.post("/api/v1/users", {"name": f"user {number}"})).json["data"]
                token = (await self.post(f"/api/v1/users/{user['id']}/tokens", {"ttl": 3600})).json["data"]["token"]
                return ProcessUser(self.session, self.url, token, user["id"])

        return list(await asyncio.gather(*(make(number) for number in range(count))))

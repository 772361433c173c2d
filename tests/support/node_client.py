"""The official JavaScript client in a process of its own."""

import asyncio
import json
from typing import Any

from tests.support.guard import HANG_SECONDS


class NodeClient:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.changed = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, node: str) -> "NodeClient":
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                node, "tests/support/node_client.mjs", stdin=pipe, stdout=pipe, limit=2**24
            )
        )

    async def _read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))
            self.changed.set()

    def do(self, command: str, **options: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": command, **options}).encode() + b"\n")

    def seen(self, kind: str, **values: Any) -> list[dict[str, Any]]:
        wanted = {"is": kind, **values}
        return [line for line in self.lines if wanted.items() <= line.items()]

    async def until(self, kind: str, count: int = 1, seconds: float = HANG_SECONDS, **values: Any) -> dict[str, Any]:
        """The newest line of this kind, once there are ``count``."""
        async with asyncio.timeout(seconds):
            while len(self.seen(kind, **values)) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.seen(kind, **values)[-1]

    async def close(self) -> None:
        self.do("exit")
        await self.process.wait()
        await self.reading

"""A TCP proxy that can cut what goes through it, or swallow it without a word."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Self


class Proxy:
    """From a port of its own to ``target``, which may change between connections: an address, or the path of a socket."""

    def __init__(
        self, target: Callable[[], tuple[str, int] | str | None], context: ssl.SSLContext | None = None
    ) -> None:
        self.context = context
        self.target = target
        self.silent = False
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.heard = asyncio.Event()
        self.heard.set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=4096, ssl=self.context)
        self.port = int(self.server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        self.swallow(False)
        self.cut()
        for task in list(self.tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def swallow(self, silent: bool) -> None:
        """What comes from either side goes nowhere, and nobody is told; or it goes through again, what came meanwhile too."""
        (self.heard.clear if silent else self.heard.set)()

    def swallow_open(self) -> None:
        """What comes over the connections that are open goes nowhere, for ever; new ones work."""
        self.heard.clear()
        self.heard = asyncio.Event()
        self.heard.set()

    def cut(self) -> None:
        """End every connection at once, with a reset."""
        for writer in list(self.writers):
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        other: asyncio.StreamWriter | None = None
        heard = self.heard
        try:
            await heard.wait()
            target = self.target()
            if target is None:
                return
            if isinstance(target, str):
                back, other = await asyncio.open_unix_connection(target)
            else:
                back, other = await asyncio.open_connection(*target)
            self.writers.add(other)
            await asyncio.gather(self._pump(reader, other, heard), self._pump(back, writer, heard))
        except OSError:
            pass
        finally:
            for each in (writer, other):
                if each:
                    self.writers.discard(each)
                    each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: asyncio.Event) -> None:
        while data := await reader.read(65536):
            await heard.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

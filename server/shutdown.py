"""How a server stops: SIGTERM drains, SIGINT and a second signal do not; then the sockets that are left are closed."""

import asyncio
import logging
import signal
import sys

from aiohttp import web

from realtime.transport.states import Ending
from server.call import SERVICES
from server.services import Services

logger = logging.getLogger("bellwire")

CLOSING = "The server is closing; try again later"


class Shutdown:
    """Signals of this process; ``of_worker`` also ends it when the process that started it is gone."""

    def __init__(self, *, of_worker: bool) -> None:
        self.signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.signals.put_nowait, number)
        if of_worker:
            loop.add_reader(sys.stdin.fileno(), self._on_orphaned)

    def _on_orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        self.signals.put_nowait(signal.SIGTERM)

    async def wait(self, services: Services) -> None:
        """Until the server may be closed."""
        if await self.signals.get() is signal.SIGTERM:
            draining, hurry = asyncio.create_task(drain(services)), asyncio.create_task(self.signals.get())
            await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
            if hurry.done():
                logger.info("second signal received: stopping without draining")
            for task in (draining, hurry):
                task.cancel()


async def drain(services: Services) -> None:
    """Report that no more requests should come here, and serve those that do, while the sockets are closed.

    They are closed one after the other, because clients reconnect at once to the servers that are left.
    """
    refuse_sockets(services)
    loop, seconds = asyncio.get_running_loop(), services.settings.drain_seconds
    began, sockets = loop.time(), list(services.socketio.eio.sockets.values())
    for number, each in enumerate(sockets):
        await asyncio.sleep(max(0.0, began + seconds * number / len(sockets) - loop.time()))
        each.close_now(Ending.SHUTDOWN)
    await asyncio.sleep(max(0.0, began + seconds - loop.time()))


async def close_sockets(app: web.Application) -> None:
    """No new sockets; the open ones are closed without DISCONNECT, so that clients come back by themselves."""
    services = app[SERVICES]
    refuse_sockets(services)
    for each in list(services.socketio.eio.sockets.values()):
        each.close_now(Ending.SHUTDOWN)
    await asyncio.sleep(0)


def refuse_sockets(services: Services) -> None:
    """The server is about to close."""
    services.readiness.draining = services.stream_watch.closing = True
    services.socketio.eio.refusing = CLOSING

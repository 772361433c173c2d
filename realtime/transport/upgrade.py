"""How a polling session becomes a websocket: the client tries one beside its polling, and then goes over to it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from realtime.transport import frames
from realtime.transport.websocket import Websocket

if TYPE_CHECKING:
    from realtime.transport.socket import Socket

UPGRADE_SECONDS = 10.0
NOOP = frames.text_frame(b"6")
PROBE_ANSWER = frames.text_frame(b"3probe")


class Upgrade:
    """A websocket that may become a polling session's: it says ``2probe``, is answered, and takes over with ``5``."""

    __slots__ = ("deadline", "socket", "websocket", "write")

    def __init__(self, socket: "Socket", websocket: Websocket) -> None:
        self.socket = socket
        self.websocket = websocket
        self.write: Callable[[bytes], None] = websocket.write
        self.deadline = asyncio.get_running_loop().call_later(UPGRADE_SECONDS, self.on_close, 1002)

    def on_text(self, text: str) -> None:
        socket = self.socket
        if socket.upgrade is self and text == "5":
            self._end()
            if not socket.closing:
                socket.attach(self.websocket)
            else:
                # It was closed meanwhile: what was to be said last goes this way.
                self.websocket.write(socket.pop_queue())
                self.websocket.close(1000)
                socket._end()
        elif text == "2probe" and not socket.upgrading and not socket.upgraded and not socket.closing:
            socket.upgrade, socket.upgrading = self, True
            self.websocket.write(PROBE_ANSWER)
            if socket.poll_waiter and not socket.poll_waiter.done():
                socket.poll_waiter.set_result(NOOP)
        else:
            self.on_close(1002)

    def on_binary(self) -> None:
        self.on_close(1002)

    def cork(self) -> None:
        """Every answer here is waited for."""

    def uncork(self) -> None:
        """Nothing was held back."""

    def on_close(self, code: int) -> None:
        self._end()
        self.websocket.close(code)

    def on_backlog(self) -> None:
        self.on_close(1008)

    def _end(self) -> None:
        self.deadline.cancel()
        if self.socket.upgrade is self:
            self.socket.upgrade, self.socket.upgrading = None, False

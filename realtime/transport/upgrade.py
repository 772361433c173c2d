"""How a polling session becomes a websocket: the client tries one beside its polling, and then goes over to it."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from realtime.transport import frames
from realtime.transport.states import Ending
from realtime.transport.websocket import Websocket

UPGRADE_SECONDS = 10.0
NOOP = frames.text_frame(b"6")
PROBE_ANSWER = frames.text_frame(b"3probe")


class Upgradable(Protocol):
    """A polling session."""

    def begin_upgrade(self, upgrade: "Upgrade") -> bool:
        """A websocket was probed; False if it may not take over."""
        ...

    def cancel_upgrade(self, upgrade: "Upgrade") -> None:
        """The probed websocket will not take over."""

    def finish_upgrade(self, upgrade: "Upgrade", websocket: Websocket) -> bool:
        """The websocket takes over; False if it is not the one that was probed."""
        ...


class Upgrade:
    """A websocket that may become a polling session's: it says ``2probe``, is answered, and takes over with ``5``."""

    __slots__ = ("deadline", "socket", "websocket", "write")

    def __init__(self, socket: Upgradable, websocket: Websocket) -> None:
        self.socket = socket
        self.websocket = websocket
        self.write: Callable[[bytes], None] = websocket.write
        self.deadline = asyncio.get_running_loop().call_later(UPGRADE_SECONDS, self.on_close, Ending.PROTOCOL_ERROR)

    def on_text(self, text: str) -> None:
        if text == "5" and self.socket.finish_upgrade(self, self.websocket):
            self.deadline.cancel()
        elif text == "2probe" and self.socket.begin_upgrade(self):
            self.websocket.write(PROBE_ANSWER)
        else:
            self.on_close(Ending.PROTOCOL_ERROR)

    def on_binary(self) -> None:
        self.on_close(Ending.PROTOCOL_ERROR)

    def cork(self) -> None:
        """Every answer here is waited for."""

    def uncork(self) -> None:
        """Nothing was held back."""

    def on_close(self, ending: Ending) -> None:
        self.deadline.cancel()
        self.socket.cancel_upgrade(self)
        self.websocket.close(ending.code)

    def on_backlog(self) -> None:
        self.on_close(Ending.UNEXPECTED_PACKET)

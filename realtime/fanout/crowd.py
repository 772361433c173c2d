"""Delivery to many readers of one channel, in slices, so that other work of the event loop runs in between.

Events wait for each other a moment and leave in one write a reader, and the readers are written to some at a time.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from realtime.fanout.subscription import READERS_AT_ONCE, Channel, Reader
from storage.transaction import Event

# Above so many readers a channel has a crowd.
CROWD_READERS = 1000
WAIT_SECONDS = 0.25


class Crowd:
    """Of one channel; ``deliver`` delivers its next events."""

    def __init__(self, channel: Channel, deliver: Callable[[Channel, Sequence[Event]], None]) -> None:
        self.channel = channel
        self.deliver = deliver
        # Events after the channel's position that are delivered together in a moment, and what does that.
        self.held: list[Event] = []
        self.releasing: asyncio.TimerHandle | None = None
        # Done when they are; only while that is waited for.
        self.released: asyncio.Future[None] | None = None
        # Live readers to whom ``data``, the events up to the channel's position, is still to be written, and what does that.
        self.unwritten: dict[Reader, None] = {}
        self.data = b""
        self.writing: asyncio.Handle | None = None

    @property
    def newest(self) -> int:
        """The newest seq that waits, or 0."""
        return self.held[-1].seq if self.held else 0

    def deliver_soon(self, events: Sequence[Event]) -> None:
        """At once, if nothing was delivered a moment ago or the crowd is gone."""
        wait = self.channel.delivered_at + WAIT_SECONDS - time.monotonic()
        if not self.held and (wait <= 0 or len(self.channel.live) <= CROWD_READERS):
            return self.deliver(self.channel, events)
        self.held += events
        if self.releasing is None:
            self.releasing = asyncio.get_running_loop().call_later(max(0.0, wait), self.release)
        return None

    def release(self) -> None:
        """Deliver what waits."""
        if self.releasing:
            self.releasing.cancel()
            self.releasing = None
        held, self.held = self.held, []
        if held:
            self.deliver(self.channel, held)
        if self.released:
            self.released.set_result(None)
            self.released = None

    async def wait(self) -> None:
        """Until what waits has been delivered."""
        if self.held:
            if self.released is None:
                self.released = asyncio.get_running_loop().create_future()
            await asyncio.shield(self.released)

    def write(self, readers: Collection[Reader], data: bytes) -> None:
        """Begin to write the channel's next events to these; ``finish`` what is still to be written before."""
        self.unwritten, self.data = dict.fromkeys(readers), data
        self._go_on()

    def _go_on(self) -> None:
        """Write to some; the next ones follow in another step of the loop, which lets others run."""
        self._write(READERS_AT_ONCE)
        self.writing = asyncio.get_running_loop().call_soon(self._go_on) if self.unwritten else None

    def _write(self, most: int) -> None:
        unwritten, data = self.unwritten, self.data
        for _ in range(min(most, len(unwritten))):
            reader, _ = unwritten.popitem()
            write = reader.write
            write(data)
        self.channel.delivered_at = time.monotonic()

    def finish(self) -> None:
        """Write to all who are left."""
        if self.writing:
            self.writing.cancel()
            self.writing = None
        if self.unwritten:
            self._write(len(self.unwritten))

"""Push channels are opened before streams begin, closed after their ends, and compared with those at Apple.

What is to be done is in the database (``storage/push_channels.py``), and recorded there before Apple is asked: after a crash
it is still due, and a channel that no row names is found by comparing.
"""

import asyncio
import logging
from functools import partial
from typing import Any

from push.apns_channels import ApnsChannels
from push.provider import Outcome, PushResult
from storage import push_channel_apps, push_channels
from storage.database import Database
from storage.push_channel_apps import App
from storage.push_channels import PushChannel
from storage.transaction import Command, clock
from storage.types import SECOND

logger = logging.getLogger("bellwire.push")

# At least, before a failed request is made again.
RETRY_SECONDS = 5.0
LATER = (Outcome.RETRY, Outcome.SLOW_DOWN, Outcome.BUSY)


class PushChannels:
    """``await work()`` every second."""

    def __init__(self, database: Database, apple: ApnsChannels) -> None:
        self.database = database
        self.apple = apple
        # By state, as measured every few seconds.
        self.counts: dict[str, int] = {}

    async def work(self) -> None:
        channels_due, apps_due = await self.database.read(lambda it: push_channels.any_due(it, clock(it)))
        if channels_due:
            claimed = await self.database.write(Command(push_channels.claim))
            await asyncio.gather(*(self._open(it) if it.state == "wanted" else self._close(it) for it in claimed))
        if apps_due:
            apps = await self.database.write(Command(push_channel_apps.claim_apps))
            await asyncio.gather(*(self._compare(each) for each in apps))

    async def measure(self) -> None:
        self.counts = await self.database.read(push_channels.counts)

    async def _open(self, channel: PushChannel) -> None:
        result, id, unknown = await self.apple.open_channel(channel.environment, channel.bundle_id)
        if id is not None:
            await self._write(push_channels.opened, channel=channel, channel_id=id)
        elif unknown:
            # The request stays among those without an answer, and is made once more.
            logger.warning("%s: perhaps a channel was opened: %s", channel.bundle_id, said(result))
        else:
            pause = int(max(RETRY_SECONDS, result.after) * SECOND) if result.outcome in LATER else None
            await self._write(push_channels.not_opened, channel=channel, retry_in=pause)
            logger.error("%s: no channel was opened: %s", channel.bundle_id, said(result))

    async def _close(self, channel: PushChannel) -> None:
        assert channel.channel_id is not None
        result = await self.apple.close_channel(channel.environment, channel.bundle_id, channel.channel_id)
        if result.outcome in (Outcome.ACCEPTED, Outcome.TOKEN_DEAD):
            await self._write(push_channels.closed, channel=channel)
        else:
            logger.warning("%s: a channel was not closed: %s", channel.bundle_id, said(result))
            if result.outcome not in LATER:
                await self._write(push_channels.not_closed, channel=channel)

    async def _compare(self, app: App) -> None:
        result, ids = await self.apple.list_channels(app.environment, app.bundle_id)
        if result.outcome is not Outcome.ACCEPTED:
            logger.warning("%s: channels can't be listed: %s", app.bundle_id, said(result))
            if result.outcome not in LATER:
                await self._write(push_channel_apps.not_compared, app=app)
            return
        compared = await self._write(push_channel_apps.compare, app=app, ids=ids)
        if compared.unknown:
            logger.warning("%s: %d channels are of no stream here", app.bundle_id, compared.unknown)
        for orphan in compared.orphans:
            closing = await self.apple.close_channel(orphan.environment, orphan.bundle_id, orphan.channel_id or "")
            if closing.outcome in (Outcome.ACCEPTED, Outcome.TOKEN_DEAD):
                await self._write(push_channel_apps.orphan_closed, channel=orphan)

    async def _write(self, apply: Any, **values: Any) -> Any:
        return await self.database.write(Command(partial(apply, **values)))


def said(result: PushResult) -> str:
    return f"{result.status} {result.reason}".strip()

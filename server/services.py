"""Everything that handlers may reach, built once, in start order, and released in reverse."""

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from realtime.accounts import Accounts
from realtime.broker_memory import MemoryBroker
from realtime.chat import Chats
from realtime.hub import Hub
from realtime.limits import Limits
from realtime.messages import ChatNumbers, Messages
from realtime.namespace import ChatNamespace
from realtime.notifications import Notifications
from realtime.presence_memory import MemoryPresence
from realtime.protocol import Server
from realtime.session import Sessions
from realtime.tasks import Tasks
from realtime.templates import Templates
from realtime.tokens import Tokens
from server.settings import Settings
from storage import accounts, epoch, log
from storage.database import Database
from storage.transaction import Command
from storage.types import SECOND, now

logger = logging.getLogger("bellwire")

TICK = 1.0
SWEEP_EVERY = 60.0
DAY = 24 * 3600


@dataclass(slots=True)
class Services:
    settings: Settings
    limits: Limits
    database: Database
    tokens: Tokens
    accounts: Accounts
    hub: Hub
    sessions: Sessions
    chats: Chats
    messages: Messages
    notifications: Notifications
    templates: Templates
    namespace: ChatNamespace
    socketio: Server
    origins: "Origins"
    address: str = ""
    draining: bool = False

    @property
    def public_url(self) -> str:
        """How clients reach the server."""
        return (self.settings.public_url or self.address).rstrip("/")

    async def new_epoch(self) -> str:
        """Begin a new history; every client reloads."""
        self.database.epoch = await self.database.write(Command(epoch.renew))
        for session in self.sessions.all():
            session.socket.close_now()
        return self.database.epoch


def secret_of(settings: Settings) -> str:
    """The configured secret, or the one of the data folder, made on first use."""
    given = settings.jwt_secret.get_secret_value()
    if given:
        return given
    path = settings.data_dir / "secret"
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"secret.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    return path.read_text().strip()


def read_pem(path: Path | None) -> str | None:
    return path.read_text() if path else None


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Services]:
    """All services, started. Nothing listens yet."""
    limits = settings.limits()
    tokens = Tokens(
        secret_of(settings),
        algorithm=settings.jwt_algorithm,
        public_key=read_pem(settings.jwt_public_key),
        jwks_url=settings.jwks_url,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
    database = Database(settings.database)
    await database.start()
    try:
        users = Accounts(database, tokens, local=settings.local_accounts, provision_users=settings.provision_users)
        await users.start()
        hub = Hub(database, MemoryBroker())
        database.writer.on_commit = hub.publish
        sessions = Sessions(database, hub, users, limits)
        users.revoked = sessions.revoke
        numbers = ChatNumbers(database)
        chats, messages = Chats(database, numbers, limits), Messages(database, numbers, limits)
        notifications = Notifications(database, limits)
        socketio = Server(limits, ping_interval=settings.ping_interval, ping_timeout=settings.ping_timeout)
        origins = Origins(settings)
        namespace = ChatNamespace(
            server=socketio,
            sessions=sessions,
            accounts=users,
            chats=chats,
            messages=messages,
            notifications=notifications,
            hub=hub,
            presence=MemoryPresence(),
            limits=limits,
            origin_allowed=origins.allowed,
        )
        services = Services(
            settings=settings,
            limits=limits,
            database=database,
            tokens=tokens,
            accounts=users,
            hub=hub,
            sessions=sessions,
            chats=chats,
            messages=messages,
            notifications=notifications,
            templates=Templates(database, limits),
            namespace=namespace,
            socketio=socketio,
            origins=origins,
        )
        background = Background(services)
        database.writer.on_unknown = background.doubt
        async with background:
            yield services
        await socketio.eio.stop()
        await chats.tasks.finish()
        await hub.tasks.finish()
    finally:
        await database.close()


class Origins:
    """Where browsers may come from: our own address, and what the settings name."""

    def __init__(self, settings: Settings) -> None:
        self.named = {each.rstrip("/") for each in settings.cors_origins}
        if settings.public_url:
            self.named.add("/".join(settings.public_url.split("/")[:3]))

    def allowed(self, origin: str, environ: Mapping[str, Any]) -> bool:
        """``environ`` names the host that was asked; the same host is always allowed."""
        if "*" in self.named or origin in self.named:
            return True
        return origin.split("://", 1)[-1] == environ.get("HTTP_HOST")


class Background:
    """What runs beside the requests: the look at the log's tail, at revocations, and the sweeping."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.tasks = Tasks()
        self.stopping = asyncio.Event()

    async def __aenter__(self) -> "Background":
        services = self.services
        self._every(TICK, services.hub.look_at_tail)
        self._every(TICK, services.sessions.look_at_revocations)
        self._every(SWEEP_EVERY, self._sweep)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopping.set()
        await self.tasks.finish()

    def doubt(self, pks: set[int]) -> None:
        """It is not known what was committed on these channels: look."""

        async def look() -> None:
            while not self.stopping.is_set():
                try:
                    return await self.services.hub.look(pks)
                except Exception:
                    logger.exception("could not look at %d channels; again in a second", len(pks))
                    await asyncio.sleep(TICK)
            return None

        self.tasks.spawn(look())

    def _every(self, seconds: float, work: Callable[[], Any]) -> None:
        async def repeat() -> None:
            while not self.stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), seconds)
                    return
                try:
                    await work()
                except Exception:
                    logger.exception("%s failed; again in %s s", work.__qualname__, seconds)

        self.tasks.spawn(repeat())

    async def _sweep(self) -> None:
        """Drop, in slices, what is past its retention."""
        services = self.services
        settings = services.settings
        write = services.database.write
        old = now() - int(settings.retention_days * DAY * SECOND)

        cuts = await services.database.read(
            lambda connection: log.to_trim(connection, before=old, keep=settings.retention_events)
        )
        for pk, upto in cuts:
            trim = Command(partial(log.trim, channel_pk=pk, upto=upto), channels=[pk])
            while not self.stopping.is_set() and await write(trim):
                await asyncio.sleep(0)
        await write(Command(lambda tx: accounts.sweep(tx, before=now() - DAY * SECOND)))
        while not self.stopping.is_set() and await services.chats.sweep():
            await asyncio.sleep(0)

"""Everything that handlers may reach, built once, in start order, and released in reverse."""

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from push.apns import ApnsGateway
from push.gateway import LogGateway, PushGateway
from push.provider import Provider, ProviderToken
from push.targets import Policy
from push.worker import Worker
from realtime import sandbox
from realtime.accounts import Accounts
from realtime.administration import Administration
from realtime.blocks import Blocks
from realtime.broadcasts import Broadcasts
from realtime.chat import Chats
from realtime.cluster.nodes import HEARTBEAT_SECONDS
from realtime.cluster.presence_redis import TTL_SECONDS as PRESENCE_TTL_SECONDS
from realtime.cluster.rates import Rates
from realtime.credits import Credits
from realtime.devices import Devices
from realtime.erasure import Erasure
from realtime.fanout.budget import Budget
from realtime.fanout.hub import Hub
from realtime.fanout.reach import Reach
from realtime.fanout.session import Sessions
from realtime.logins import Logins
from realtime.media import MediaService
from realtime.messages import ChatNumbers, Messages
from realtime.namespace import ChatNamespace
from realtime.notifications import Notifications
from realtime.passwords import Passwords
from realtime.schema.limits import Limits
from realtime.signing import Signer
from realtime.streams import Bundle, Streams, Timing
from realtime.support.tasks import Tasks
from realtime.templates import Templates
from realtime.tokens import Tokens
from realtime.transport.protocol import Server
from realtime.webhooks import Webhooks
from server.addresses import Addresses
from server.cluster import Cluster, joined
from server.connections import RESERVED_DESCRIPTORS, Connections, raise_descriptors
from server.form import Uploads
from server.origins import Hosts, Origins
from server.secret_file import secrets_of
from server.settings import Settings
from storage import audit, deliveries, epoch, log, logins, registration, webhooks
from storage.database import Database
from storage.errors import Unavailable
from storage.files import Files
from storage.transaction import Command, Event, Tx
from storage.types import SECOND, now

logger = logging.getLogger("bellwire")

TICK_SECONDS = 1.0
SWEEP_SECONDS = 60.0
MEASURE_SECONDS = 5.0
DAY_SECONDS = 24 * 3600
TRAIL_KEPT_SECONDS = 90 * DAY_SECONDS
PUSHES_KEPT_SECONDS = 7 * DAY_SECONDS


@dataclass(slots=True)
class Services:
    settings: Settings
    limits: Limits
    database: Database
    tokens: Tokens
    accounts: Accounts
    logins: Logins
    passwords: Passwords
    blocks: Blocks
    administration: Administration
    hub: Hub
    sessions: Sessions
    chats: Chats
    messages: Messages
    media: MediaService
    notifications: Notifications
    streams: Streams
    templates: Templates
    credits: Credits
    broadcasts: Broadcasts
    webhooks: Webhooks
    erasure: Erasure
    devices: Devices
    worker: Worker
    namespace: ChatNamespace
    socketio: Server
    origins: Origins
    hosts: Hosts
    cluster: Cluster
    addresses: Addresses
    connections: Connections
    rates: Rates
    budget: Budget
    uploads: Uploads
    address: str = ""
    draining: bool = False
    started_at: int = field(default_factory=now)
    answers: int = 0
    answer_seconds: float = 0.0

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


def read_pem(path: Path | None) -> str | None:
    return path.read_text() if path else None


def gateway_of(settings: Settings, database: Database) -> PushGateway:
    """Apple's, if there is a key; its provider token is shared through the database."""
    if settings.apns_key is None:
        return LogGateway()
    key = settings.apns_key.read_text()
    whose = f"{settings.apns_team_id} {settings.apns_key_id} {key}"
    name = f"apns_token:{hashlib.sha256(whose.encode()).hexdigest()[:32]}"

    async def share(keep: Callable[[ProviderToken | None], ProviderToken]) -> ProviderToken:
        def apply(tx: Tx) -> ProviderToken:
            known = epoch.known(tx.connection).get(name)
            token = keep(ProviderToken(*json.loads(known)) if known else None)
            epoch.put(tx, name, json.dumps(token))
            return token

        return await database.write(Command(apply, keys=[name]))

    provider = Provider(key, settings.apns_key_id, settings.apns_team_id, share)
    return ApnsGateway(
        provider,
        host=settings.apns_host or None,
        port=settings.apns_port,
        ca=str(settings.apns_ca) if settings.apns_ca else None,
        connections=settings.apns_connections,
    )


def policy_of(settings: Settings) -> Policy:
    return Policy(
        topic=settings.apns_topic,
        in_flight=settings.push_in_flight,
        content=settings.push_content,
        reached_too=settings.push_reached,
        ttl=settings.push_hours * 3600,
        dismiss_over=settings.live_dismiss_over,
        dismiss_begun=settings.live_dismiss_begun,
        stale=settings.stream_grace,
        live_starts=settings.live_starts,
        live_ttl=settings.live_hours * 3600,
        retry_base=1,
        retry_most=300,
        slow_down=30,
    )


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Services]:
    """All services, started. Nothing listens yet."""
    limits, signing = settings.limits(), secrets_of(settings)
    tokens = Tokens(
        signing,
        algorithm=settings.jwt_algorithm,
        public_key=read_pem(settings.jwt_public_key),
        jwks_url=settings.jwks_url,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(tokens.close)
        database = Database(settings.database, read_seconds=settings.database_timeout)
        await database.start()
        stack.push_async_callback(database.close)
        cluster = await stack.enter_async_context(joined(settings, database, signing))
        rates = Rates(limits, cluster.rates)
        budget = Budget(limits)
        users = Accounts(database, tokens, local=settings.local_accounts, provision_users=settings.provision_users)
        passwords = Passwords(limits)
        local_logins = Logins(users, passwords, rates, most=limits.logins_per_user, local=settings.local_accounts)
        stack.push_async_callback(local_logins.tasks.finish)
        await users.start()
        if settings.local_accounts and (
            still_open := await database.read(partial(registration.unset, exclude=users.default_tenant.pk))
        ):
            logger.warning(
                "anybody may register in %s: set registration at /api/v1/admin/tenant", ", ".join(still_open)
            )
        hub = Hub(database, cluster.broker, limits)
        sessions = Sessions(database, hub, users.callers, limits, budget)
        users.revoked = sessions.revoke
        numbers = ChatNumbers(database)
        chats = Chats(database, numbers, limits, hub.deliveries)
        messages = Messages(database, numbers, limits, hub.deliveries, lambda: services.public_url)
        if not sandbox.is_available():
            logger.warning("no seccomp on this system: files are decoded without a sandbox")
        media = MediaService(
            database,
            Files(settings.media_url or str(settings.data_dir / "media")),
            limits,
            types=settings.media_types,
            signer=Signer(signing, "media links"),
            public_url=lambda: services.public_url,
            unsent=settings.media_unsent_hours * 3600,
            temporary=settings.data_dir / "uploads",
        )
        notifications = Notifications(database, limits)
        timing = Timing(settings.stream_grace, settings.live_lead)
        bundle = Bundle(settings.apns_topic, settings.apns_environment)
        streams = Streams(database, limits, timing, bundle, hub.deliveries)
        socketio = Server(
            limits,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            transports=["polling", "websocket"] if settings.polling else ["websocket"],
        )
        origins = Origins(settings.public_url, settings.cors_origins)
        hosts = Hosts(settings.public_url, settings.cors_origins, settings.hosts)
        addresses = Addresses(settings.trusted_proxies)
        socketio.eio.address_of = addresses.of
        namespace = ChatNamespace(
            server=socketio,
            sessions=sessions,
            accounts=users,
            chats=chats,
            messages=messages,
            notifications=notifications,
            streams=streams,
            hub=hub,
            presence=cluster.presence,
            limits=limits,
            budget=budget,
            origins=origins,
        )
        reach = Reach(sessions, hub, cluster.presence, cluster.node)
        administration = Administration(users, passwords)
        services = Services(
            settings=settings,
            limits=limits,
            database=database,
            tokens=tokens,
            accounts=users,
            logins=local_logins,
            passwords=passwords,
            blocks=Blocks(database),
            administration=administration,
            hub=hub,
            sessions=sessions,
            chats=chats,
            messages=messages,
            media=media,
            notifications=notifications,
            streams=streams,
            templates=Templates(database, limits),
            credits=Credits(database),
            broadcasts=Broadcasts(database),
            webhooks=Webhooks(database, most=limits.webhooks, private=settings.webhook_private),
            erasure=Erasure(administration, policy=settings.deleted_messages),
            devices=Devices(database, limits, ttl=settings.push_hours * 3600),
            worker=Worker(database, gateway_of(settings, database), reach, policy_of(settings)),
            namespace=namespace,
            socketio=socketio,
            origins=origins,
            hosts=hosts,
            cluster=cluster,
            addresses=addresses,
            connections=Connections(
                addresses.of_host,
                per_address=settings.max_connections_per_address,
                most=max(1, raise_descriptors() - RESERVED_DESCRIPTORS),
            ),
            rates=rates,
            budget=budget,
            uploads=Uploads(rates, limits, media.decoder),
        )
        worker = services.worker

        def committed(events: list[Event]) -> None:
            hub.publish(events)
            worker.wake()

        database.writer.on_commit = committed
        yield services
        await socketio.eio.stop()
        await services.webhooks.stop()
        await chats.tasks.finish()
        await hub.tasks.finish()


@contextlib.asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """What a server does beside its requests; a command of ``run.py`` does not."""
    background = Background(services)
    services.database.writer.on_unknown = services.hub.mark_suspect
    if services.cluster.nodes:
        await services.cluster.nodes.start()
    if services.cluster.redis:
        await services.cluster.redis.start()
    await services.worker.start()
    try:
        async with background:
            yield
    finally:
        await services.worker.stop()
        if services.cluster.nodes:
            await services.cluster.nodes.stop()


class Background:
    """What runs beside the requests: the look at the log's tail, at revocations, and the sweeping."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.tasks = Tasks()
        self.stopping = asyncio.Event()

    async def __aenter__(self) -> "Background":
        services = self.services
        if not services.database.path:
            self._every(TICK_SECONDS, services.hub.check_tail)
        self._every(TICK_SECONDS, services.sessions.tick)
        self._every(TICK_SECONDS, services.sessions.look_at_revocations)
        self._every(TICK_SECONDS, services.streams.tick)
        self._every(TICK_SECONDS, services.streams.finish_leaving)
        self._every(TICK_SECONDS, services.broadcasts.work)
        self._every(TICK_SECONDS, services.erasure.work)
        self._every(TICK_SECONDS, services.webhooks.work)
        self._every(SWEEP_SECONDS, services.streams.expire_activities)
        self._every(MEASURE_SECONDS, services.worker.measure)
        self._every(SWEEP_SECONDS, self._sweep)
        if services.cluster.nodes:
            self._every(HEARTBEAT_SECONDS, services.cluster.nodes.beat)
        self._every(PRESENCE_TTL_SECONDS / 3, services.cluster.presence.refresh)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopping.set()
        await self.tasks.finish()

    def _every(self, seconds: float, work: Callable[[], Any]) -> None:
        async def repeat() -> None:
            while not self.stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), seconds)
                    return
                try:
                    await work()
                except Unavailable:
                    logger.warning("%s: the database is unreachable; retrying in %s s", work.__qualname__, seconds)
                except Exception:
                    logger.exception("%s failed; retrying in %s s", work.__qualname__, seconds)

        self.tasks.spawn(repeat())

    async def _sweep(self) -> None:
        """Drop, in slices, what is past its retention."""
        services = self.services
        settings = services.settings
        write = services.database.write
        old = now() - int(settings.retention_days * DAY_SECONDS * SECOND)

        cuts = await services.database.read(
            lambda connection: log.to_trim(connection, before=old, keep=settings.retention_events)
        )
        for pk, upto in cuts:
            trim = Command(partial(log.trim, channel_pk=pk, upto=upto), channels=[pk])
            while not self.stopping.is_set() and await write(trim):
                await asyncio.sleep(0)
        sweep = Command(partial(deliveries.sweep, before=now() - PUSHES_KEPT_SECONDS * SECOND))
        while not self.stopping.is_set() and await write(sweep):
            await asyncio.sleep(0)
        forget = Command(partial(webhooks.sweep, before=now() - PUSHES_KEPT_SECONDS * SECOND))
        while not self.stopping.is_set() and await write(forget):
            await asyncio.sleep(0)
        await write(Command(lambda tx: logins.sweep(tx, before=now() - DAY_SECONDS * SECOND)))
        await write(Command(registration.sweep))
        trail = Command(partial(audit.sweep, before=now() - TRAIL_KEPT_SECONDS * SECOND))
        while not self.stopping.is_set() and await write(trail):
            await asyncio.sleep(0)
        while not self.stopping.is_set() and await services.chats.sweep():
            await asyncio.sleep(0)
        await services.media.sweep()

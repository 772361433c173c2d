"""Builds everything that runs in a process: callbacks are given in constructors, and each release is pushed at once.

What was started is released in reverse order, also where a later start fails.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from push.webhooks import WebhookCalls
from push.worker import Worker
from realtime import sandbox
from realtime.accounts import Accounts
from realtime.activities import Activities, Bundle
from realtime.administration import Administration
from realtime.avatars import Avatars
from realtime.blocks import Blocks
from realtime.broadcasts import Broadcasts
from realtime.chat import Chats
from realtime.chat_numbers import ChatNumbers
from realtime.cluster.rates import Rates
from realtime.credits import Credits
from realtime.devices import Devices
from realtime.due import DueWork
from realtime.erasure import Erasure
from realtime.fanout.budget import Budget
from realtime.fanout.hub import Hub
from realtime.fanout.reach import Reach
from realtime.fanout.session import Sessions
from realtime.history import History
from realtime.indexing import Indexer
from realtime.invites import Invites
from realtime.logins import Logins
from realtime.media import MediaService
from realtime.mentions import Mentions
from realtime.message_places import MessagePlaces
from realtime.messages import Messages
from realtime.namespace import ChatNamespace
from realtime.notifications import Notifications
from realtime.passwords import Passwords
from realtime.pins import Pins
from realtime.presence_watch import PresenceWatch
from realtime.purges import Purges
from realtime.reactions import Reactions
from realtime.reports import Reports
from realtime.sanctions import Sanctions
from realtime.schema.caller import Caller
from realtime.search import MessageSearch
from realtime.signing import Signer
from realtime.stream_watch import StreamWatch
from realtime.streams import Streams, Timing
from realtime.support.ttl_cache import TtlCache
from realtime.templates import Templates
from realtime.threads import Threads
from realtime.tokens import Tokens
from realtime.transport.protocol import Server
from realtime.typing_status import TypingStatus
from realtime.viewers import Viewers
from realtime.webhooks import Webhooks
from realtime.word_lists import WordLists
from server.addresses import Addresses
from server.background import Background
from server.cluster import joined
from server.connections import RESERVED_DESCRIPTORS, Connections, raise_descriptors
from server.figure_history import FigureHistory
from server.form import Uploads
from server.origins import Hosts, Origins
from server.push_setup import policy_of, providers_of, push_channels_of, web_push_of
from server.readiness import Readiness
from server.secret_file import secrets_of
from server.services import Services
from server.settings import Settings
from storage import registration
from storage.database import Database
from storage.files import Files
from storage.search_index import SearchIndex
from storage.search_index_postgres import PostgresSearchIndex
from storage.search_index_sqlite import SqliteSearchIndex
from storage.transaction import Event
from storage.types import now

logger = logging.getLogger("bellwire")


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Services]:
    """All services, started. Nothing listens yet."""
    limits, signing = settings.limits(), secrets_of(settings)

    # What the database calls needs the database: until it is built, there are no readers and no events.
    hub: Hub | None = None
    worker: Worker | None = None
    indexer: Indexer | None = None

    def on_commit(events: list[Event]) -> None:
        if hub and worker and indexer:
            hub.publish(events)
            worker.wake()
            indexer.on_commit(events)

    def on_unknown(channels: set[int]) -> None:
        if hub and indexer:
            hub.on_suspect(channels)
            indexer.on_unknown(channels)

    async with contextlib.AsyncExitStack() as stack:
        tokens = Tokens(
            signing,
            algorithm=settings.jwt_algorithm,
            public_key=read_pem(settings.jwt_public_key),
            jwks_url=settings.jwks_url,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
        )
        stack.push_async_callback(tokens.close)
        database = Database(
            settings.database,
            read_seconds=settings.database_timeout,
            write_seconds=settings.database_write_timeout,
            connections=settings.database_connections,
            pooled=settings.database_pooler == "transaction",
            on_commit=on_commit,
            on_unknown=on_unknown,
        )
        await database.start()
        stack.push_async_callback(database.close)
        indexer = Indexer(index_of(database))
        stack.push_async_callback(indexer.stop)
        cluster = await stack.enter_async_context(joined(settings, database, signing))
        rates, budget = Rates(limits, cluster.rates), Budget(limits)

        hub = Hub(database, cluster.make_broker, limits)
        stack.push_async_callback(hub.stop)
        callers: TtlCache[str, Caller] = TtlCache()
        sessions = Sessions(database, hub, callers, limits, budget)
        reach = Reach(sessions, hub, cluster.presence, cluster.node)
        stack.push_async_callback(reach.stop)
        providers = await providers_of(settings, database, lambda: services.public_url)
        worker = Worker(database, providers, reach, policy_of(settings))

        accounts = Accounts(
            database,
            tokens,
            callers,
            local=settings.local_accounts,
            provision_users=settings.provision_users,
            on_revoked=sessions.revoke,
        )
        await accounts.start()
        if settings.local_accounts:
            await warn_of_open_registration(database, accounts)
        passwords = Passwords(limits)
        logins = Logins(accounts, passwords, rates, most=limits.logins_per_user, local=settings.local_accounts)
        stack.push_async_callback(logins.stop)
        administration = Administration(accounts, passwords)

        def public_url() -> str:
            return services.public_url

        numbers, places = ChatNumbers(database), MessagePlaces(database)
        chats = Chats(database, numbers, limits, hub.delivery_budget)
        stack.push_async_callback(chats.stop)
        if not sandbox.is_available():
            logger.warning("no seccomp on this system: files are decoded without a sandbox")
        media = MediaService(
            database,
            Files(settings.media_url or str(settings.data_dir / "media")),
            limits,
            types=settings.media_types,
            signer=Signer(signing, "media links"),
            public_url=public_url,
            unsent=settings.media_unsent_hours * 3600,
            temporary=settings.data_dir / "uploads",
        )
        word_lists = WordLists(database, limits)
        await word_lists.refresh()
        messages = Messages(database, numbers, places, limits, hub.delivery_budget, media, word_lists, public_url)
        due_work = DueWork(database)
        stack.push_async_callback(due_work.stop)
        reactions = Reactions(database, places, limits, hub.delivery_budget, due_work, word_lists)
        sanctions = Sanctions(chats, Purges(database, due_work))
        notifications = Notifications(database, limits)
        timing = Timing(settings.stream_grace, settings.live_lead)
        bundle = Bundle(settings.apns_topic, settings.apns_environment)
        viewers = Viewers(database, hub, limits, cluster.node)
        streams = Streams(database, limits, timing, hub.delivery_budget, viewers)
        webhooks = Webhooks(database, most=limits.webhooks, private=settings.webhook_private)
        webhook_calls = WebhookCalls(database, private=settings.webhook_private)
        stack.push_async_callback(webhook_calls.stop)

        presence_watch = PresenceWatch(database, hub, cluster.presence, limits)
        stack.push_async_callback(presence_watch.stop)
        stream_watch = StreamWatch(streams, viewers, hub, cluster.presence, limits)
        stack.push_async_callback(stream_watch.stop)
        typing = TypingStatus(database, numbers, hub)
        namespace = ChatNamespace(
            sessions=sessions,
            accounts=accounts,
            messages=messages,
            reactions=reactions,
            notifications=notifications,
            typing=typing,
            presence=presence_watch,
            streams=stream_watch,
            limits=limits,
            budget=budget,
        )
        origins = Origins(settings.public_url, settings.cors_origins)
        addresses = Addresses(settings.trusted_proxies)
        socketio = Server(
            limits,
            namespace,
            origins=origins,
            address_of=addresses.of,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            transports=["polling", "websocket"] if settings.polling else ["websocket"],
        )
        stack.push_async_callback(socketio.eio.stop)

        services = Services(
            settings=settings,
            limits=limits,
            database=database,
            tokens=tokens,
            accounts=accounts,
            avatars=Avatars(database, media.decoder, limits, public_url, callers.clear),
            logins=logins,
            passwords=passwords,
            blocks=Blocks(database),
            administration=administration,
            hub=hub,
            sessions=sessions,
            chats=chats,
            invites=Invites(chats, Signer(signing, "invites"), public_url),
            sanctions=sanctions,
            messages=messages,
            history=History(database, numbers),
            reactions=reactions,
            threads=Threads(database, places),
            reports=Reports(places, sanctions, limits),
            word_lists=word_lists,
            search=MessageSearch(database, numbers, indexer, limits, budget),
            indexer=indexer,
            pins=Pins(database, numbers, places, limits, hub.delivery_budget, due_work),
            mentions=Mentions(database),
            due_work=due_work,
            media=media,
            notifications=notifications,
            streams=streams,
            activities=Activities(database, limits, bundle),
            templates=Templates(database, limits),
            credits=Credits(database),
            broadcasts=Broadcasts(database),
            webhooks=webhooks,
            webhook_calls=webhook_calls,
            erasure=Erasure(administration, policy=settings.deleted_messages),
            devices=Devices(
                database,
                limits,
                ttl=settings.push_hours * 3600,
                providers=providers,
                web_push=web_push_of(providers),
            ),
            worker=worker,
            push_channels=push_channels_of(database, providers),
            presence_watch=presence_watch,
            readiness=Readiness(database),
            figure_history=FigureHistory(settings.data_dir / "figures"),
            stream_watch=stream_watch,
            viewers=viewers,
            typing=typing,
            namespace=namespace,
            socketio=socketio,
            origins=origins,
            hosts=Hosts(settings.public_url, settings.cors_origins, settings.hosts),
            cluster=cluster,
            addresses=addresses,
            connections=Connections(
                addresses.of_host,
                per_address=limits.connections_per_address,
                most=max(1, raise_descriptors() - RESERVED_DESCRIPTORS),
            ),
            rates=rates,
            budget=budget,
            uploads=Uploads(rates, limits, media.decoder),
        )
        yield services


@contextlib.asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """What a server does beside its requests; a command of ``run.py`` does not."""
    cluster = services.cluster
    async with contextlib.AsyncExitStack() as stack:
        if cluster.nodes:
            await cluster.nodes.start()
            stack.push_async_callback(cluster.nodes.stop)
        if cluster.redis:
            await cluster.redis.start()
        stack.push_async_callback(services.worker.stop)
        await services.worker.start()
        await services.figure_history.load(now())
        background = Background(services)
        stack.push_async_callback(background.stop)
        background.start()
        yield


async def warn_of_open_registration(database: Database, accounts: Accounts) -> None:
    exclude = accounts.default_tenant.pk
    still_open = await database.read(partial(registration.unset, exclude=exclude))
    if still_open:
        logger.warning("anybody may register in %s: set registration at /api/v1/admin/tenant", ", ".join(still_open))


def index_of(database: Database) -> SearchIndex:
    if database.path:
        return SqliteSearchIndex(database, database.path.with_suffix(".search"))
    return PostgresSearchIndex(database)


def read_pem(path: Path | None) -> str | None:
    return path.read_text() if path else None

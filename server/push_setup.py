"""The push providers that the settings name, and how pushes are sent."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urljoin

from cryptography.hazmat.primitives.asymmetric import ec

from push.apns import ApnsProvider
from push.apns_channels import MANAGERS, ApnsChannels
from push.apns_connection import ApnsHost
from push.fcm import FcmProvider
from push.post import Poster
from push.provider import LogProvider, Provider
from push.push_channels import PushChannels
from push.signed import AppleToken, SignedToken, VapidTokens, read_service_account
from push.targets import Policy
from push.webpush import HOSTS, WebPushProvider
from push.webpush_encryption import CURVE
from server.settings import Settings
from storage import epoch
from storage.database import Database
from storage.devices import CHANNEL_PROVIDER
from storage.transaction import Command, Tx

# The name of the fact that holds private keys, as numbers; the first one is that of new subscriptions.
VAPID_KEYS = "vapid_keys"


async def providers_of(settings: Settings, database: Database, public_url: Callable[[], str]) -> dict[str, Provider]:
    """By the name under which deliveries are stored."""
    providers: dict[str, Provider] = {"apns": apns_of(settings, database)}
    if isinstance(providers["apns"], ApnsProvider):
        providers[CHANNEL_PROVIDER] = channels_of(settings, providers["apns"])
    if settings.fcm_key is not None:
        account = read_service_account(settings.fcm_key.read_text())
        providers["fcm"] = FcmProvider(account, poster_of(settings), url=settings.fcm_url)
    if settings.vapid_subject:
        keys = await database.write(Command(vapid_keys, keys=[VAPID_KEYS]))
        providers["webpush"] = WebPushProvider(
            [VapidTokens(key, settings.vapid_subject) for key in keys],
            poster_of(settings),
            hosts=(*HOSTS, *settings.webpush_hosts),
            url_of=partial(url_of, public_url),
        )
    return providers


def channels_of(settings: Settings, apns: ApnsProvider) -> ApnsChannels:
    """Pushes over channels go to the hosts that take pushes; another one manages them."""
    managers = {
        environment: ApnsHost(
            settings.apns_manage_host or host, settings.apns_manage_port or port, apns.tls, connections=1
        )
        for environment, (host, port) in MANAGERS.items()
    }
    return ApnsChannels(apns.token, apns.hosts, managers)


def push_channels_of(database: Database, providers: Mapping[str, Provider]) -> PushChannels | None:
    provider = providers.get(CHANNEL_PROVIDER)
    return PushChannels(database, provider) if isinstance(provider, ApnsChannels) else None


def web_push_of(providers: Mapping[str, Provider]) -> WebPushProvider | None:
    provider = providers.get("webpush")
    return provider if isinstance(provider, WebPushProvider) else None


def poster_of(settings: Settings) -> Poster:
    """With a connection for each push in flight: none waits for one within its deadline."""
    ca = str(settings.push_ca) if settings.push_ca else None
    return Poster(private=settings.push_private, connections=settings.push_in_flight, ca=ca)


def apns_of(settings: Settings, database: Database) -> Provider:
    """Apple's, if there is a key; its provider token is shared through the database."""
    if settings.apns_key is None:
        return LogProvider("APNs")
    key = settings.apns_key.read_text()
    whose = f"{settings.apns_team_id} {settings.apns_key_id} {key}"
    name = f"apns_token:{hashlib.sha256(whose.encode()).hexdigest()[:32]}"

    async def share(keep: Callable[[SignedToken | None], SignedToken]) -> SignedToken:
        def apply(tx: Tx) -> SignedToken:
            known = epoch.known(tx.connection()).get(name)
            token = keep(SignedToken(*json.loads(known)) if known else None)
            epoch.put(tx, name, json.dumps(token))
            return token

        return await database.write(Command(apply, keys=[name]))

    return ApnsProvider(
        AppleToken(key, settings.apns_key_id, settings.apns_team_id, share),
        topic=settings.apns_topic,
        host=settings.apns_host or None,
        port=settings.apns_port,
        ca=str(settings.apns_ca) if settings.apns_ca else None,
        connections=settings.apns_connections,
    )


def vapid_keys(tx: Tx) -> list[ec.EllipticCurvePrivateKey]:
    """Those of the installation; the first one is made on first use."""
    known = epoch.known(tx.connection()).get(VAPID_KEYS)
    if known is None:
        known = json.dumps([str(ec.generate_private_key(CURVE).private_numbers().private_value)])
        epoch.put(tx, VAPID_KEYS, known)
    return [ec.derive_private_key(int(each), CURVE) for each in json.loads(known)]


def url_of(public_url: Callable[[], str], data: Mapping[str, Any]) -> str:
    """The absolute address that a click on a notification opens: its own, its chat, or the list of notifications."""
    home = f"{public_url()}/"
    address = urljoin(home, str(data.get("actionUrl", "")))
    if "actionUrl" in data and address.startswith(("https://", "http://")):
        return address
    place = f"chat/{data['chatId']}" if "chatId" in data else "notifications"
    return f"{home}#/{place}"


def policy_of(settings: Settings) -> Policy:
    return Policy(
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

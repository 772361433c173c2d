"""Devices: where a user can be pushed. And what became of their pushes, for admins."""

import hashlib
import uuid
from collections.abc import Mapping

from push.notes import Note
from push.provider import Provider, Push
from push.targets import address_of
from push.webpush import WebPushProvider
from realtime.schema import documents, shapes
from realtime.schema.bodies import RegisterDevice
from realtime.schema.caller import Caller
from realtime.schema.fields import token_of_apns
from realtime.schema.limits import Limits
from storage import accounts, activities, audit, contexts, deliveries, devices, outbox, push_channel_apps, push_channels
from storage.database import Database
from storage.devices import Device
from storage.errors import Conflict, Invalid, NotFound
from storage.transaction import Command, Tx
from storage.types import SECOND, now

# For how long a provider keeps a test.
TEST_SECONDS = 600
# The only provider that checks a push without sending it.
DRY_RUNS = "fcm"

FEATURES = (devices.CHANNEL, devices.ONGOING, devices.QUIET)


class Devices:
    """``ttl`` is how long a push that is tried again has, in seconds; ``providers`` are those that can push."""

    def __init__(
        self,
        database: Database,
        limits: Limits,
        *,
        ttl: float,
        providers: Mapping[str, Provider],
        web_push: WebPushProvider | None,
    ) -> None:
        self.web_push = web_push
        self.database = database
        self.limits = limits
        self.providers = providers
        self.ttl = int(ttl * SECOND)

    async def register(self, caller: Caller, body: RegisterDevice) -> tuple[shapes.DeviceDocument, bool]:
        """The device, and whether it is new. A user who had its token before loses it. Raises Conflict over the limit."""
        if body.endpoint is not None:
            self._check(body.endpoint)
        token = body.endpoint or body.pushToken
        assert token is not None
        if body.platform == devices.APPLE:
            token = token_of_apns(token)
        keys = body.keys
        values = {
            "device_id": body.deviceId,
            "platform": body.platform,
            "push_token": token,
            "environment": body.environment or "production",
            "bundle_id": body.bundleId or "" if keys is None else self.web_push.public_key if self.web_push else "",
            "p256dh": keys.p256dh if keys else None,
            "auth": keys.auth if keys else None,
            "push_to_start_token": body.pushToStartToken if body.platform == devices.APPLE else None,
            "token_kind": body.tokenKind,
            "features": " ".join(each for each in FEATURES if each in body.features),
            "locale": body.locale,
            "login_id": caller.login,
        }

        uses_channels = devices.CHANNEL in body.features and body.platform == devices.APPLE

        def apply(tx: Tx) -> tuple[Device, bool]:
            device, new = devices.register(tx, caller.fresh(tx).pk, values)
            if uses_channels:
                push_channel_apps.add_app(tx, device.environment, device.bundle_id)
            if new and devices.count(tx.connection(), caller.pk) > self.limits.devices:
                raise Conflict(
                    f"A user can have at most {self.limits.devices} devices; delete one first", code="limit_reached"
                )
            return device, new

        locks = [f"token:{hashlib.sha256(token.encode()).hexdigest()}"]
        if uses_channels:
            locks.append(f"push channels:{values['environment']}:{values['bundle_id']}")
        device, new = await self.database.write(Command(apply, channels=[caller.pk], keys=locks))
        return self.document(device), new

    async def page(self, caller: Caller, *, after: int, limit: int) -> list[Device]:
        return await self.database.read(lambda it: devices.page(it, caller.pk, after=after, limit=limit))

    async def remove(self, caller: Caller, device_id: str) -> shapes.DeviceDocument:
        """Raises NotFound."""

        def apply(tx: Tx) -> Device:
            device = devices.find(tx.connection(), caller.fresh(tx).pk, device_id)
            if device is None:
                raise NotFound
            devices.remove(tx, device.pk)
            return device

        return self.document(await self.database.write(Command(apply, channels=[caller.pk])))

    def _check(self, endpoint: str) -> None:
        """Raises Invalid for an address that is not a push service's."""
        if self.web_push is None:
            raise Invalid.field("endpoint", "cannot be used: this server does not push to browsers")
        if problem := self.web_push.wrong_with(endpoint):
            raise Invalid.field("endpoint", problem)

    def config(self) -> shapes.PushConfig:
        """What apps must know to be pushed to."""
        platforms = [name for name, provider in devices.PROVIDER_OF_PLATFORM.items() if provider in self.providers]
        return {"vapidPublicKey": self.web_push.public_key if self.web_push else None, "platforms": platforms}

    def document(self, device: Device) -> shapes.DeviceDocument:
        return documents.device(device, self.providers)

    # For admins

    async def pushes(
        self, caller: Caller, *, user_id: str | None, push_id: str | None, before: int | None, limit: int
    ) -> list[shapes.DeliveryDocument]:
        """Pushes of the tenant, newest first: those of a user, the one of an id, or else the dead letters."""
        tenant_pk = caller.user.tenant_pk
        found = await self.database.read(
            lambda it: deliveries.records(
                it,
                tenant_pk,
                user_pk=accounts.need(it, tenant_pk, user_id).pk if user_id else None,
                push_id=push_id,
                before=before,
                limit=limit,
            )
        )
        return [documents.delivery(each) for each in found]

    async def test(self, caller: Caller, device_id: str, *, dry_run: bool = False) -> list[shapes.PushTest]:
        """Send a push to the devices of this id, and say what the providers answered; with ``dry_run`` nothing is shown, and
        Google alone is asked. Raises NotFound.
        """
        found = await self.database.read(lambda it: devices.named(it, caller.user.tenant_pk, device_id))
        if not found:
            raise NotFound
        return [await self._test(each, dry_run=dry_run) for each in found]

    async def _test(self, device: Device, *, dry_run: bool) -> shapes.PushTest:
        provider = self.providers.get(device.provider or "")
        if provider is None or (dry_run and device.provider != DRY_RUNS):
            outcome = "not pushable" if provider is None else "no dry run"
            return {"provider": device.provider, "outcome": outcome, "status": None, "reason": None}
        at = now()
        badges = await self.database.read(lambda it: contexts.badges_of(it, {device.user_pk}, at))
        push_id = str(uuid.uuid4())
        note = Note(once=push_id, badge=badges[device.user_pk], title="Bellwire", body="Test", data={"type": "test"})
        expires_at = at // SECOND + TEST_SECONDS
        push = Push(address_of(device, device.push_token), note, push_id, expires_at, dry_run=dry_run)
        result = await provider.send(push)
        return {
            "provider": device.provider,
            "outcome": result.outcome.value,
            "status": result.status,
            "reason": result.reason or None,
        }

    async def retry(self, caller: Caller, pk: int) -> None:
        """Try a dead letter again. Raises NotFound, Conflict for a Live Activity that needs it no more."""

        def apply(tx: Tx) -> None:
            actor = caller.fresh(tx)
            actor.require("admin")
            letter = deliveries.find_dead(tx.connection(), actor.user.tenant_pk, pk)
            if letter is None:
                raise NotFound
            audit.add(tx, actor.user, "push.retry", str(pk))
            if letter.kind in outbox.ENDING:
                if not has_no_end(tx, letter.kind, letter.target_pk):
                    raise Conflict("It has ended or is ending")
                outbox.promise_live(tx, letter.kind, letter.channel_pk, letter.seq, only=letter.target_pk)
                deliveries.supersede(tx, pk)
            elif letter.kind in outbox.LIVE:
                raise Conflict("The push has expired")
            elif letter.provider not in self.providers:
                raise Conflict(f"Pushes by {letter.provider} are not set up")
            else:
                deliveries.retry(tx, pk, ttl=self.ttl)

        await self.database.write(Command(apply))


def has_no_end(tx: Tx, kind: str, pk: int) -> bool:
    """Whether the activity, or the push channel, to which an end was sent still shows the stream."""
    if kind == "live_end":
        activity = activities.by_pks(tx.connection(), [pk]).get(pk)
        return activity is not None and activity.state == "active"
    channel = push_channels.by_pks(tx.connection(), [pk]).get(pk)
    return channel is not None and channel.state == "open"

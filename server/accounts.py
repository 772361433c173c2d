"""Accounts over REST: logging in, users, blocks, administration."""

import functools
import logging
import re
import zoneinfo
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from realtime import documents
from realtime.accounts import LoggedIn
from realtime.bodies import Body
from realtime.fields import Attributes, HexId, Text, Title, Uuid
from realtime.shapes import UserDocument
from server.call import Call, Created, Paging, page, read_cursor, token_of, write_cursor
from storage import accounts
from storage.accounts import NewUser
from storage.errors import Invalid, Unavailable

logger = logging.getLogger("bellwire.http")

EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,190}")
CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
DAYS_30 = 30 * 24 * 3600


def email(value: str) -> str:
    if not EMAIL.fullmatch(value) or len(value.casefold()) > 255:
        raise ValueError("must be an e-mail address")
    return value


time_zones = functools.cache(zoneinfo.available_timezones)


def time_zone(value: str) -> str:
    if value not in time_zones():
        raise ValueError("must be a time zone like Europe/Istanbul")
    return value


Email = Annotated[Text, AfterValidator(email)]
Password = Annotated[Text, StringConstraints(min_length=8, max_length=1024)]


class Register(Body):
    email: Email
    password: Password
    name: Title | None = None
    tenant: Uuid | None = None


class Login(Body):
    email: Text
    password: Annotated[str, StringConstraints(max_length=1024)]
    tenant: Uuid | None = None


class RefreshToken(Body):
    refreshToken: str


class LogOut(Body):
    """Only needed where there is no access token any more."""

    refreshToken: str | None = None


class ChangePassword(Body):
    old: Annotated[str, StringConstraints(max_length=1024)]
    new: Password


class ResetPassword(Body):
    token: str
    password: Password


class QuietHours(Body):
    """Local times, ``HH:MM``."""

    from_: Annotated[str, Field(alias="from", pattern=CLOCK)]
    to: Annotated[str, Field(pattern=CLOCK)]


class ChangeMe(Body):
    """What is absent stays; here ``null`` clears where a user may be without."""

    name: Title | None = None
    avatarUrl: Annotated[Text, StringConstraints(max_length=2048)] | None = None
    locale: Annotated[Text, StringConstraints(max_length=35)] | None = None
    timeZone: Annotated[str, AfterValidator(time_zone)] | None = None
    quietHours: QuietHours | None = None

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name", "") is None:
            return {name: value for name, value in data.items() if name != "name"}
        return data


class CreateUser(Body):
    email: Email | None = None
    name: Title | None = None
    password: Password | None = None
    id: HexId | None = None
    number: Annotated[int, Field(ge=1, lt=accounts.LARGEST_NUMBER)] | None = None
    uuid: Uuid | None = None
    permissions: list[str] = Field(default_factory=list)


class IssueToken(Body):
    permissions: list[str] = Field(default_factory=list)
    ttl: Annotated[int, Field(ge=1, le=DAYS_30)] = 3600


class BlockUser(Body):
    userId: HexId


class CreateTenant(Body):
    name: Title
    uuid: Uuid | None = None


class LiveActivity(Body):
    """The name of the app's ``ActivityAttributes``, and what each activity starts with."""

    attributesType: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,254}$")]
    attributes: Attributes = Field(default_factory=dict)


class ChangeTenant(Body):
    """``null`` means that no activity is started from here."""

    liveActivity: LiveActivity | None = None

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, data: Any) -> Any:
        return data


class FindUsers(Paging):
    """Either a part of the name, or ids, comma-separated."""

    query: Text | None = None
    ids: Text | None = None


class LoggedInDocument(TypedDict):
    accessToken: str
    refreshToken: str
    expiresIn: int
    user: UserDocument


class TokenDocument(TypedDict):
    token: str
    expiresAt: str


class TenantDocument(TypedDict):
    uuid: str
    name: str


class LiveActivityDocument(TypedDict):
    attributesType: str
    attributes: dict[str, Any]


class TenantSettingsDocument(TypedDict):
    uuid: str
    name: str
    liveActivity: LiveActivityDocument | None


class ResetLinkDocument(TypedDict):
    url: str
    token: str
    expiresAt: str


def logged_in(pair: LoggedIn) -> LoggedInDocument:
    return {
        "accessToken": pair.access,
        "refreshToken": pair.refresh,
        "expiresIn": pair.expires_in,
        "user": documents.user(pair.user, private=True),
    }


def shown(call: Call, user: accounts.User) -> UserDocument:
    private = user.pk == call.caller.pk or call.caller.may("users.manage")
    return documents.user(user, private=private)


async def register(call: Call) -> Any:
    body: Register = call.body
    made = await call.services.accounts.register(body.email, body.password, body.name, body.tenant, call.address)
    return Created(logged_in(made))


async def login(call: Call) -> Any:
    return logged_in(
        await call.services.accounts.login(call.body.email, call.body.password, call.body.tenant, call.address)
    )


async def refresh(call: Call) -> Any:
    return logged_in(await call.services.accounts.refresh(call.body.refreshToken))


async def logout(call: Call) -> Any:
    """The login of the bearer token; or, whose token expired, that of the refresh token."""
    users, body = call.services.accounts, call.body
    if "Authorization" not in call.request.headers and body.refreshToken is not None:
        await users.logout_by(body.refreshToken)
    else:
        await users.logout(await users.authenticate(await token_of(call.request)))
    return {"success": True}


async def change_password(call: Call) -> Any:
    user = await call.services.accounts.change_password(call.caller, call.body.old, call.body.new)
    return documents.user(user, private=True)


async def reset_password(call: Call) -> Any:
    user = await call.services.accounts.reset_password(call.body.token, call.body.password)
    return documents.user(user, private=True)


async def me(call: Call) -> Any:
    user = await call.services.database.read(lambda connection: accounts.get(connection, call.caller.pk))
    return documents.user(user, private=True)


async def change_me(call: Call) -> Any:
    body: ChangeMe = call.body
    columns = {"name": "name", "avatarUrl": "avatar_url", "locale": "locale", "timeZone": "time_zone"}
    values = {columns[name]: getattr(body, name) for name in body.model_fields_set if name in columns}
    if "quietHours" in body.model_fields_set:
        quiet = body.quietHours
        values |= {"quiet_from": quiet.from_ if quiet else None, "quiet_to": quiet.to if quiet else None}
    return documents.user(await call.services.accounts.change_me(call.caller, values), private=True)


async def get(call: Call) -> Any:
    id = call.id()
    return shown(
        call,
        await call.services.database.read(lambda connection: accounts.need(connection, call.caller.user.tenant_pk, id)),
    )


async def find(call: Call) -> Any:
    query: FindUsers = call.query
    tenant_pk, read = call.caller.user.tenant_pk, call.services.database.read
    if query.ids is not None:
        ids = query.ids.split(",")
        if len(ids) > call.services.limits.page:
            raise Invalid.field("ids", f"may name {call.services.limits.page} users")
        return page([shown(call, each) for each in await read(lambda it: accounts.by_ids(it, tenant_pk, ids))], None)
    if not query.query:
        raise Invalid.field("query", "query or ids is required")
    (after,) = read_cursor(query.cursor, 1) or (0,)
    emails = call.caller.may("users.manage")
    found = await read(
        lambda it: accounts.search(it, tenant_pk, query.query or "", emails=emails, after=after, limit=query.limit + 1)
    )
    cursor = write_cursor(found[query.limit - 1].pk) if len(found) > query.limit else None
    return page([shown(call, each) for each in found[: query.limit]], cursor)


def new_user(body: CreateUser) -> NewUser:
    """Raises Invalid for one without a name."""
    name = body.name or (body.email.split("@")[0] if body.email else None)
    if name is None:
        raise Invalid.field("name", "name or email is required")
    return NewUser(name, body.email, body.password, body.id, body.number, body.uuid, body.permissions)


async def create(call: Call) -> Any:
    return Created(
        documents.user(await call.services.administration.add_user(call.caller, new_user(call.body)), private=True)
    )


async def issue_token(call: Call) -> Any:
    token, expires = await call.services.administration.issue_token(
        call.caller, call.id(), call.body.permissions, call.body.ttl
    )
    return Created({"token": token, "expiresAt": documents.time(expires * 1_000_000)})


async def create_tenant(call: Call) -> Any:
    tenant = await call.services.administration.add_tenant(call.caller, call.body.name, call.body.uuid)
    return Created({"uuid": tenant.uuid, "name": tenant.name})


async def tenant(call: Call) -> Any:
    return await call.services.administration.tenant_settings(call.caller)


async def change_tenant(call: Call) -> Any:
    body: ChangeTenant = call.body
    if "liveActivity" in body.model_fields_set:
        live = body.liveActivity
        await call.services.administration.set_activity(
            call.caller, live.attributesType if live else None, live.attributes if live else {}
        )
    return await tenant(call)


async def blocks(call: Call) -> Any:
    limit = call.query.limit
    (after,) = read_cursor(call.query.cursor, 1) or (0,)
    found = await call.services.database.read(
        lambda it: accounts.blocked_by(it, call.caller.pk, after=after, limit=limit + 1)
    )
    cursor = write_cursor(found[limit - 1].pk) if len(found) > limit else None
    return page([documents.user(each, private=False) for each in found[:limit]], cursor)


async def block(call: Call) -> Any:
    user, new = await call.services.accounts.block(call.caller, call.body.userId)
    document = documents.user(user, private=False)
    return Created(document) if new else document


async def unblock(call: Call) -> Any:
    await call.services.accounts.unblock(call.caller, call.id("userId"))
    return {"success": True}


async def administer(call: Call) -> Any:
    """disable, enable, ban, unban and sign-out, by the last word of the path."""
    verb = call.request.path.rsplit("/", 1)[1]
    if verb == "sign-out":
        user = await call.services.administration.sign_out(call.caller, call.id())
    else:
        status = {"disable": "disabled", "enable": "active", "ban": "banned", "unban": "active"}[verb]
        lifts = {"enable": "disabled", "unban": "banned"}.get(verb)
        user = await call.services.administration.set_status(call.caller, call.id(), status, lifts=lifts)
    return documents.user(user, private=True)


async def delete_me(call: Call) -> Any:
    await call.services.erasure.delete_me(call.caller)
    return {"success": True}


async def delete(call: Call) -> Any:
    await call.services.erasure.delete(call.caller, call.id())
    return {"success": True}


async def export(call: Call) -> web.Response:
    """A JSON document a line, so that nobody has to hold them all."""
    user, kept = await call.services.erasure.export(call.caller, call.id())
    name = f'attachment; filename="user-{user.id}.ndjson"'
    return web.Response(body=lines(kept), headers={"Content-Type": "application/x-ndjson", "Content-Disposition": name})


async def lines(documents: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """The answer has begun: where the rest can't be read, the connection can only end."""
    try:
        async for document in documents:
            yield orjson.dumps(document) + b"\n"
    except Unavailable as error:
        logger.warning("an export could not be read to its end: %s", error)
        raise ConnectionResetError from None


async def audit(call: Call) -> Any:
    limit = call.query.limit
    (before,) = read_cursor(call.query.cursor, 1) or (None,)
    found = await call.services.administration.trail(call.caller, before=before, limit=limit + 1)
    cursor = write_cursor(found[limit - 1].pk) if len(found) > limit else None
    return page([documents.audited(each) for each in found[:limit]], cursor)


async def reset_link(call: Call) -> Any:
    token, expires = await call.services.administration.reset_link(call.caller, call.id())
    url = f"{call.services.public_url}/#reset={token}"
    return Created({"url": url, "token": token, "expiresAt": documents.time(expires)})


async def reports(call: Call) -> Any:
    limit = call.query.limit
    (before,) = read_cursor(call.query.cursor, 1) or (None,)
    found = await call.services.messages.reports(call.caller, before=before, limit=limit + 1)
    cursor = write_cursor(found[limit - 1]["id"]) if len(found) > limit else None
    return page(list(found[:limit]), cursor)

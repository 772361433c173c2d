"""Accounts over REST: logging in, users, blocks."""

import functools
import logging
import re
import zoneinfo
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from realtime.logins import LoggedIn
from realtime.passwords import LONGEST_PASSWORD, SHORTEST
from realtime.schema import documents
from realtime.schema.bodies import Body
from realtime.schema.fields import DisplayName, HexId, PictureUrl, Text, Uuid, documented
from realtime.schema.shapes import LoginDocument, UserDocument
from server.call import Answer, Call, Created, Listed, NoBody, Page, Paging, Succeeded, page, paged, token_of
from storage import accounts
from storage import blocks as stored_blocks
from storage.email import is_valid, key_of
from storage.errors import Invalid

logger = logging.getLogger("bellwire.http")

EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,190}")
CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
DAYS_30 = 30 * 24 * 3600


def email(value: str) -> str:
    if not EMAIL.fullmatch(value) or not is_valid(value) or len(key_of(value)) > 255:
        raise ValueError("must be an e-mail address")
    return value


time_zones = functools.cache(zoneinfo.available_timezones)


def time_zone(value: str) -> str:
    if value not in time_zones():
        raise ValueError("must be a time zone such as Europe/Istanbul")
    return value


Email = Annotated[Text, AfterValidator(email), documented(format="email", maxLength=255)]
Password = Annotated[Text, StringConstraints(min_length=SHORTEST, max_length=LONGEST_PASSWORD)]


class Register(Body):
    email: Email
    password: Password
    name: DisplayName | None = None
    tenant: Uuid | None = None
    invitation: Text | None = None


class Login(Body):
    email: Text
    password: Annotated[Text, StringConstraints(max_length=1024)]
    tenant: Uuid | None = None
    deviceToken: Annotated[
        Annotated[Text, StringConstraints(max_length=255)] | None,
        documented(description="Of an earlier log-in from here: it is tried however often others failed."),
    ] = None


class RefreshToken(Body):
    refreshToken: Text


class LogOut(Body):
    """Only needed without an access token."""

    refreshToken: Text | None = None


class ChangePassword(Body):
    old: Annotated[Text, StringConstraints(max_length=1024)]
    new: Password


class ResetPassword(Body):
    token: Text
    password: Password


class QuietHours(Body):
    """Local times, ``HH:MM``."""

    from_: Annotated[str, Field(alias="from", pattern=CLOCK)]
    to: Annotated[str, Field(pattern=CLOCK)]


class ChangeMe(Body):
    """Omitted fields are unchanged; here ``null`` clears where a user may be without."""

    name: DisplayName | None = None
    avatarUrl: PictureUrl | None = None
    locale: Annotated[Text, StringConstraints(max_length=35)] | None = None
    timeZone: Annotated[str, AfterValidator(time_zone)] | None = None
    quietHours: QuietHours | None = None
    presence: Literal["contacts", "nobody"] | None = None

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name", "") is None:
            return {name: value for name, value in data.items() if name != "name"}
        return data


class BlockUser(Body):
    userId: HexId


class FindUsers(Paging):
    """Either a part of the name, or ids, comma-separated."""

    query: Text | None = None
    ids: Text | None = None


class LoggedInDocument(TypedDict):
    accessToken: str
    refreshToken: str
    expiresIn: int
    user: UserDocument
    deviceToken: str


def logged_in(pair: LoggedIn) -> LoggedInDocument:
    return {
        "accessToken": pair.access,
        "refreshToken": pair.refresh,
        "expiresIn": pair.expires_in,
        "user": documents.user(pair.user, private=True),
        "deviceToken": pair.device,
    }


def shown(call: Call[Any, Any], user: accounts.User) -> UserDocument:
    private = user.pk == call.caller.pk or call.caller.may("users.manage")
    return documents.user(user, private=private)


async def register(call: Call[Register]) -> Answer[LoggedInDocument]:
    body: Register = call.body
    made = await call.services.logins.register(
        body.email, body.password, body.name, body.tenant, call.peer, body.invitation
    )
    return Created(logged_in(made))


async def login(call: Call[Login]) -> LoggedInDocument:
    body: Login = call.body
    return logged_in(
        await call.services.logins.login(body.email, body.password, body.tenant, call.peer, body.deviceToken)
    )


async def refresh(call: Call[RefreshToken]) -> LoggedInDocument:
    return logged_in(await call.services.logins.refresh(call.body.refreshToken, call.peer))


async def logout(call: Call[LogOut]) -> Succeeded:
    """The login of the bearer token; or, whose token expired, that of the refresh token."""
    services, body = call.services, call.body
    if "Authorization" not in call.request.headers and body.refreshToken is not None:
        await services.logins.logout_by(body.refreshToken)
    else:
        await services.logins.logout(await services.accounts.authenticate(await token_of(call.request)))
    return {"success": True}


async def change_password(call: Call[ChangePassword]) -> UserDocument:
    user = await call.services.logins.change_password(call.caller, call.body.old, call.body.new, call.peer)
    return documents.user(user, private=True)


async def reset_password(call: Call[ResetPassword]) -> UserDocument:
    user = await call.services.logins.reset_password(call.body.token, call.body.password, call.peer)
    return documents.user(user, private=True)


async def sessions(call: Call) -> Listed[LoginDocument]:
    found = await call.services.logins.of_user(call.caller)
    return {"items": [documents.login(each, current=each.id == call.caller.login) for each in found]}


async def end_session(call: Call) -> Succeeded:
    await call.services.logins.end(call.caller, call.uuid())
    return {"success": True}


async def end_other_sessions(call: Call) -> Succeeded:
    await call.services.logins.end_others(call.caller)
    return {"success": True}


async def me(call: Call) -> UserDocument:
    user = await call.services.database.read(lambda connection: accounts.get(connection, call.caller.pk))
    return documents.user(user, private=True)


async def change_me(call: Call[ChangeMe]) -> UserDocument:
    body: ChangeMe = call.body
    columns = {"name": "name", "avatarUrl": "avatar_url", "locale": "locale", "timeZone": "time_zone"}
    values = {columns[name]: getattr(body, name) for name in body.model_fields_set if name in columns}
    if "quietHours" in body.model_fields_set:
        quiet = body.quietHours
        values |= {"quiet_from": quiet.from_ if quiet else None, "quiet_to": quiet.to if quiet else None}
    if "presence" in body.model_fields_set:
        values["presence"] = "nobody" if body.presence == "nobody" else None
    user = await call.services.accounts.change_me(call.caller, values)
    if "presence" in values:
        await call.services.presence_watch.show(user)
    return documents.user(user, private=True)


async def get(call: Call) -> UserDocument:
    id = call.id()
    return shown(
        call,
        await call.services.database.read(lambda connection: accounts.need(connection, call.caller.user.tenant_pk, id)),
    )


async def find(call: Call[NoBody, FindUsers]) -> Page[UserDocument]:
    query: FindUsers = call.query
    tenant_pk, read = call.caller.user.tenant_pk, call.services.database.read
    if query.ids is not None:
        ids = query.ids.split(",")
        if len(ids) > call.services.limits.page:
            raise Invalid.field("ids", f"must name at most {call.services.limits.page} users")
        return page([shown(call, each) for each in await read(lambda it: accounts.by_ids(it, tenant_pk, ids))], None)
    if not query.query:
        raise Invalid.field("query", "query or ids is required")
    text, emails = query.query, call.caller.may("users.manage")
    return await paged(
        call,
        lambda after, limit: read(
            lambda it: accounts.search(it, tenant_pk, text, emails=emails, after=after or 0, limit=limit)
        ),
        partial(shown, call),
    )


async def blocks(call: Call[NoBody, Paging]) -> Page[UserDocument]:
    pk, read = call.caller.pk, call.services.database.read
    return await paged(
        call,
        lambda after, limit: read(lambda it: stored_blocks.of_user(it, pk, after=after or 0, limit=limit)),
        partial(documents.user, private=False),
    )


async def block(call: Call[BlockUser]) -> Answer[UserDocument]:
    user, new = await call.services.blocks.add(call.caller, call.body.userId)
    document = documents.user(user, private=False)
    return Created(document) if new else document


async def unblock(call: Call) -> Succeeded:
    await call.services.blocks.remove(call.caller, call.id("userId"))
    return {"success": True}


async def delete_me(call: Call) -> Succeeded:
    await call.services.erasure.delete_me(call.caller)
    return {"success": True}

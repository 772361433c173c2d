"""Administration over REST: other people's accounts, tenants, what is kept of users and what admins did."""

import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from realtime.schema import documents
from realtime.schema.bodies import Body
from realtime.schema.fields import Attributes, DisplayName, HexId, Moment, Text, Uuid
from realtime.schema.shapes import AuditDocument, TenantSettingsDocument, UserDocument
from server.accounts import Email, Password
from server.call import Answer, Call, Created, NoBody, Page, Paging, Succeeded, paged
from storage import accounts
from storage.accounts import NewUser, User
from storage.email import encoded
from storage.errors import Invalid, Unavailable
from storage.registration import Mode
from storage.types import SECOND, iso_time

logger = logging.getLogger("bellwire.http")

DAYS_30 = 30 * 24 * 3600


class CreateUser(Body):
    email: Email | None = None
    name: DisplayName | None = None
    password: Password | None = None
    id: HexId | None = None
    number: Annotated[int, Field(ge=1, lt=accounts.LARGEST_NUMBER)] | None = None
    uuid: Uuid | None = None
    permissions: list[Text] = Field(default_factory=list)


class ChangeUser(Body):
    """Omitted fields are unchanged; ``permissions`` are all that the user has from now on."""

    name: DisplayName | None = None
    permissions: list[Text] | None = None


class IssueToken(Body):
    permissions: list[Text] = Field(default_factory=list)
    ttl: Annotated[int, Field(ge=1, le=DAYS_30)] = 3600


class CreateTenant(Body):
    name: DisplayName
    uuid: Uuid | None = None


class LiveActivity(Body):
    """The name of the app's ``ActivityAttributes``, and what each activity starts with."""

    attributesType: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,254}$")]
    attributes: Attributes = Field(default_factory=dict)


def domain(value: str) -> str:
    known = encoded(value.removesuffix("."))
    if known is None or "." not in known:
        raise ValueError("must be a domain such as example.org")
    return known


class ChangeTenant(Body):
    """Omitted fields are unchanged; ``liveActivity: null`` means that no activity is started from here.

    ``domains`` are those of addresses that may register where ``registration`` is ``domain``; the invited may as well.
    """

    liveActivity: LiveActivity | None = None
    registration: Mode | None = None
    domains: Annotated[list[Annotated[Text, AfterValidator(domain)]], Field(max_length=20)] | None = None

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, data: Any) -> Any:
        return data


class Confirm(Body):
    """``self`` says that the caller's own account is meant, and not by mistake."""

    confirm: Literal["self"] | None = None


class Invite(Body):
    """Without ``email`` anybody who has the token may use it, once; without ``expiresAt`` it is valid for a week."""

    email: Email | None = None
    expiresAt: Moment | None = None


class TokenDocument(TypedDict):
    token: str
    expiresAt: str


class TenantDocument(TypedDict):
    uuid: str
    name: str


class ResetLinkDocument(TypedDict):
    url: str
    token: str
    expiresAt: str


def new_user(body: CreateUser) -> NewUser:
    """Raises Invalid for one without a name."""
    name = body.name or (body.email.split("@")[0] if body.email else None)
    if name is None:
        raise Invalid.field("name", "name or email is required")
    return NewUser(name, body.email, body.password, body.id, body.number, body.uuid, body.permissions)


async def create(call: Call[CreateUser]) -> Answer[UserDocument]:
    return Created(
        documents.user(await call.services.administration.add_user(call.caller, new_user(call.body)), private=True)
    )


async def change(call: Call[ChangeUser, Confirm]) -> UserDocument:
    values = call.body.model_dump(exclude_none=True)
    own = call.query.confirm == "self"
    return documents.user(
        await call.services.administration.change_user(call.caller, call.id(), values, own=own), private=True
    )


async def issue_token(call: Call[IssueToken]) -> Answer[TokenDocument]:
    token, expires = await call.services.administration.issue_token(
        call.caller, call.id(), call.body.permissions, call.body.ttl
    )
    return Created({"token": token, "expiresAt": iso_time(expires * SECOND)})


async def create_tenant(call: Call[CreateTenant]) -> Answer[TenantDocument]:
    tenant = await call.services.administration.add_tenant(call.caller, call.body.name, call.body.uuid)
    return Created({"uuid": tenant.uuid, "name": tenant.name})


async def tenant(call: Call) -> TenantSettingsDocument:
    return await call.services.administration.tenant_settings(call.caller)


async def change_tenant(call: Call[ChangeTenant]) -> TenantSettingsDocument:
    body: ChangeTenant = call.body
    activity = None
    if "liveActivity" in body.model_fields_set:
        live = body.liveActivity
        activity = (live.attributesType, live.attributes) if live else (None, {})
    await call.services.administration.change_tenant(
        call.caller, activity=activity, mode=body.registration, domains=body.domains
    )
    return await call.services.administration.tenant_settings(call.caller)


async def invite(call: Call[Invite]) -> Answer[TokenDocument]:
    body: Invite = call.body
    expires_at = None if body.expiresAt is None else int(body.expiresAt)
    token, until = await call.services.administration.invite(call.caller, body.email, expires_at)
    return Created({"token": token, "expiresAt": iso_time(until)})


async def administer(call: Call[NoBody, Confirm]) -> UserDocument:
    """disable, enable, ban, unban and sign-out, by the last word of the path."""
    verb = call.request.path.rsplit("/", 1)[1]
    own = call.query.confirm == "self"
    return documents.user(await call.services.administration.act(call.caller, call.id(), verb, own=own), private=True)


async def delete(call: Call[NoBody, Confirm]) -> Succeeded:
    await call.services.erasure.delete(call.caller, call.id(), own=call.query.confirm == "self")
    return {"success": True}


async def export(call: Call) -> web.Response:
    """One JSON document per line, so that no process has to hold them all."""
    return exported(*await call.services.erasure.export(call.caller, call.id()))


async def export_mine(call: Call) -> web.Response:
    return exported(*await call.services.erasure.export_mine(call.caller))


def exported(user: User, kept: AsyncIterator[Any]) -> web.Response:
    name = f'attachment; filename="user-{user.id}.ndjson"'
    return web.Response(body=lines(kept), headers={"Content-Type": "application/x-ndjson", "Content-Disposition": name})


async def lines(documents: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """The answer has begun: where the rest can't be read, the connection can only end."""
    try:
        async for document in documents:
            yield orjson.dumps(document) + b"\n"
    except Unavailable as error:
        logger.warning("an export failed: %s", error)
        raise ConnectionResetError from None


async def audit(call: Call[NoBody, Paging]) -> Page[AuditDocument]:
    trail = call.services.administration.trail
    return await paged(call, lambda before, limit: trail(call.caller, before=before, limit=limit), documents.audited)


async def reset_link(call: Call) -> Answer[ResetLinkDocument]:
    token, expires = await call.services.administration.reset_link(call.caller, call.id())
    url = f"{call.services.public_url}/#reset={token}"
    return Created({"url": url, "token": token, "expiresAt": iso_time(expires)})

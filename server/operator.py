"""The commands of ``run.py``: run on the database, or by the server that holds it.

A process that opens the SQLite file for writing holds an advisory lock in the data folder. A command that finds it held goes
to the server's local address, which is written into the lock file, with a token of its own making.
"""

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web

from realtime.administration import with_password
from realtime.logins import names_of
from realtime.schema import bodies, documents, shapes
from realtime.schema.caller import Operator
from realtime.schema.limits import MIB
from realtime.schema.parsing import parse_json
from realtime.schema.statuses import status_of
from server.administration import CreateUser, new_user
from server.bootstrap import build
from server.call import SERVICES, read_bytes, token_of, write_json
from server.data_lock import Busy, held_by_command, holding, lock_path
from server.secret_file import secret_path, secrets_of
from server.services import Services
from server.settings import Settings
from storage import accounts, backup, credits
from storage.accounts import PERMISSIONS, PLATFORM, User
from storage.backup import NoBackup
from storage.errors import Invalid, NotFound, Problem, Unauthenticated
from storage.files import Files
from storage.transaction import Command, Tx
from storage.types import read_ref

PATH = "/internal/operator"
# Of a command: an operator may name a million users.
MOST, SECONDS = 64 * MIB, 60.0
TTL_SECONDS = 60
LONGEST_TTL_SECONDS = 10 * 365 * 24 * 3600
Arguments = dict[str, Any]


# Going through the server


def operator_key(settings: Settings) -> bytes:
    return hmac.digest(secrets_of(settings)[0].encode(), b"operator", hashlib.sha256)


def ask_server(settings: Settings, command: str, arguments: Arguments) -> Any:
    """Have the running server do it. Raises Busy if it does not answer, Problem for what it refuses."""
    address = lock_path(settings).read_text().strip()
    token = jwt.encode({"exp": int(time.time()) + TTL_SECONDS}, operator_key(settings), algorithm="HS256")
    body = json.dumps({"command": command, "arguments": arguments}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(address + PATH, body, headers)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=120) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        answer = json.load(error)
        raise Problem(answer.get("error", str(error))) from None
    except (urllib.error.URLError, OSError, ValueError):
        raise Busy(f"Another process holds {settings.data_dir} and does not answer at {address or '?'}") from None


async def serve(request: web.Request) -> web.Response:
    """The server's side; a request signed with the secret of the data folder is the operator's."""
    services = request.app[SERVICES]
    try:
        jwt.decode(
            await token_of(request), operator_key(services.settings), algorithms=["HS256"], options={"require": ["exp"]}
        )
    except jwt.PyJWTError:
        raise Unauthenticated from None
    asked = parse_json(await read_bytes(request, MOST, SECONDS), services.limits)
    try:
        return write_json({"data": await COMMANDS[asked["command"]](services, asked["arguments"])})
    except Problem as problem:
        return write_json({"error": reason(problem)}, status_of(problem))


async def run(settings: Settings, command: str, arguments: Arguments) -> Any:
    """Do it here if the database is free, else have the server do it."""
    if not settings.embedded:
        async with build(settings) as services:
            return await COMMANDS[command](services, arguments)
    with holding(settings) as lock:
        if lock is not None:
            async with build(settings) as services:
                return await COMMANDS[command](services, arguments)
    return ask_server(settings, command, arguments)


def reason(problem: Problem) -> str:
    return "; ".join([problem.message, *(f"{each.field}: {each.message}" for each in problem.details)])


# What goes past the server


def media_folder(settings: Settings) -> Path | None:
    """None where files lie in a store that has its own backups."""
    return Files(settings.media_url or str(settings.data_dir / "media")).folder


def make_backup(settings: Settings, file: Path) -> dict[str, int]:
    if file.exists():
        raise NoBackup(f"{file} already exists")
    secret = secret_path(settings)
    return backup.make(settings.database, file, media=media_folder(settings), secret=secret)


def restore_backup(settings: Settings, file: Path) -> dict[str, int]:
    """Raises NoBackup where a server is running, or anything is there already."""
    refusal = NoBackup(f"A server is using the data directory {settings.data_dir}: restore into a new one")
    with held_by_command(settings, refusal):
        secret = None if settings.jwt_secret.get_secret_value() else secret_path(settings)
        return backup.restore(settings.database, file, media=media_folder(settings), secret=secret)


# The commands


async def tenant_of(services: Services, arguments: Arguments) -> accounts.Tenant:
    uuid = arguments.get("tenant")
    try:
        return await services.accounts.tenant(uuid.lower() if uuid else None)
    except NotFound:
        raise NotFound("Unknown tenant") from None


async def issue_tokens(services: Services, arguments: Arguments) -> list[str]:
    """A token for each of ``users``: an e-mail, an id, a uuid, a number or a name."""
    tenant = await tenant_of(services, arguments)
    check_permissions(arguments["permissions"])
    if not 1 <= arguments["ttl"] <= LONGEST_TTL_SECONDS:
        raise Invalid(f"--ttl must be 1 to {LONGEST_TTL_SECONDS} seconds")

    def look(connection: Any) -> list[User]:
        return [find_user(connection, tenant.pk, who) for who in arguments["users"]]

    users = await services.database.read(look)
    ttl, permissions = arguments["ttl"], arguments["permissions"]
    return [services.tokens.issue(user, ttl=ttl, permissions=permissions)[0] for user in users]


def find_user(connection: Any, tenant_pk: int, who: str) -> User:
    """Raises NotFound, or Invalid for a name of several users."""
    if "@" in who:
        found = accounts.find(connection, tenant_pk, email=who)
    else:
        try:
            name, value = read_ref(who)
            found = accounts.find(connection, tenant_pk, **{name: value})
        except ValueError:
            found = None
        if found is None:
            named = accounts.named(connection, tenant_pk, who)
            if len(named) > 1:
                raise Invalid(f"{len(named)} users are named {who!r}; use an e-mail address or an id")
            found = named[0] if named else None
    if found is None:
        raise NotFound(f"Unknown user {who!r}")
    return found


async def add_user(services: Services, arguments: Arguments) -> shapes.UserDocument:
    tenant = await tenant_of(services, arguments)
    check_permissions(arguments["permissions"])
    body = bodies.read(CreateUser, arguments, services.limits)
    password = None
    if body.password:
        await services.passwords.require_strong(body.password, names_of(body.email, body.name))
        password = await services.passwords.hash(body.password)
    new = with_password(new_user(body), password)

    def apply(tx: Tx) -> User:
        return accounts.add_user(tx, tenant.pk, new)

    return documents.user(await services.database.write(Command(apply)), private=True)


async def list_users(services: Services, arguments: Arguments) -> Any:
    """A page of a tenant's users in the order they were made, and from where to go on (0: that was all)."""
    tenant = await tenant_of(services, arguments)
    after, limit = arguments["after"], arguments["limit"]
    users = await services.database.read(lambda it: accounts.page(it, tenant.pk, after=after, limit=limit))
    items = [documents.user(each, private=True) for each in users]
    return {"items": items, "after": users[-1].pk if len(users) == limit else 0}


async def show_user(services: Services, arguments: Arguments) -> shapes.UserDocument:
    tenant = await tenant_of(services, arguments)
    user = await services.database.read(lambda it: find_user(it, tenant.pk, arguments["who"]))
    return documents.user(user, private=True)


async def act_on_user(services: Services, arguments: Arguments) -> Any:
    """ban, unban, disable, enable, sign-out, delete, reset-link as an administrator could; remove-password."""
    tenant = await tenant_of(services, arguments)
    operator, administration = Operator.of(tenant), services.administration
    user = await services.database.read(lambda it: find_user(it, tenant.pk, arguments["who"]))
    match arguments["action"]:
        case "delete":
            await services.erasure.delete(operator, user.id)
            return {"deleted": user.id}
        case "reset-link":
            token, _ = await administration.reset_link(operator, user.id)
            return {"url": f"{services.public_url}/#reset={token}"}
        case "remove-password":
            return documents.user(await administration.remove_password(operator, user.id), private=True)
        case action:
            return documents.user(await administration.act(operator, user.id, action), private=True)


async def add_tenant(services: Services, arguments: Arguments) -> Any:
    operator = Operator.of(await tenant_of(services, {}))
    made = await services.administration.add_tenant(operator, arguments["name"], arguments["uuid"])
    return {"uuid": made.uuid, "name": made.name}


async def list_tenants(services: Services, arguments: Arguments) -> Any:
    return [{"uuid": each.uuid, "name": each.name} for each in await services.database.read(accounts.tenants_by_age)]


async def list_webhooks(services: Services, arguments: Arguments) -> list[shapes.WebhookDocument]:
    """All of a tenant, newest first: a tenant has a limited number of them."""
    operator = Operator.of(await tenant_of(services, arguments))
    page = await services.webhooks.page(operator, before=None, limit=services.limits.webhooks)
    return [documents.webhook(each) for each in page]


async def push_letters(services: Services, arguments: Arguments) -> Any:
    """Dead letters of a tenant, newest first; or one of them tried again; or a test of a device."""
    operator = Operator.of(await tenant_of(services, arguments))
    if arguments["test"] is not None:
        return await services.devices.test(operator, arguments["test"], dry_run=bool(arguments.get("dry_run")))
    if arguments["retry"] is None:
        return await services.devices.pushes(operator, user_id=None, push_id=None, before=None, limit=200)
    await services.devices.retry(operator, arguments["retry"])
    return {"retried": arguments["retry"]}


def check_permissions(permissions: list[str]) -> None:
    unknown = set(permissions) - {*PERMISSIONS, PLATFORM}
    if unknown:
        raise Invalid(f"Unknown permission {min(unknown)!r}. Valid: {', '.join([*PERMISSIONS, PLATFORM])}")


async def new_epoch(services: Services, arguments: Arguments) -> str:
    return await services.sessions.renew_epoch()


async def check_ledger(services: Services, arguments: Arguments) -> dict[str, int]:
    """What must be zero: the sum of all balances, and what does not add up."""
    return (await services.database.read(credits.audit, snapshot=True))._asdict()


async def rebuild_search(services: Services, arguments: Arguments) -> dict[str, bool]:
    """A server that runs begins at once, others when they start."""
    await services.indexer.rebuild()
    return {"rebuilding": True}


COMMANDS: dict[str, Callable[[Services, Arguments], Awaitable[Any]]] = {
    "token": issue_tokens,
    "user add": add_user,
    "user list": list_users,
    "user show": show_user,
    "user act": act_on_user,
    "tenant add": add_tenant,
    "tenant list": list_tenants,
    "webhook list": list_webhooks,
    "push": push_letters,
    "epoch --new": new_epoch,
    "check ledger": check_ledger,
    "search rebuild": rebuild_search,
}

"""Bellwire, a real-time chat and push server. Without a command it serves."""

import argparse
import asyncio
import gc
import getpass
import json
import logging
import os
import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    from pydantic import SecretStr, ValidationError

    from realtime.signing import key_id
    from server import logs, operator
    from server.app import serving
    from server.data_lock import Busy, held_by_command, held_by_server, write_address
    from server.event_loop import new_event_loop
    from server.masking import masked, masked_value
    from server.openapi import VERSION
    from server.secret_file import rotate_secret
    from server.settings import LIMIT_PREFIX, Settings, unknown_names
    from server.shutdown import Shutdown
    from server.workers import Workers
    from storage.backup import NoBackup
    from storage.database import Database, DatabaseBroken
    from storage.errors import Problem, Unavailable
    from storage.migrations import NotMigrated
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed for this Python: run `make install`, then .venv/bin/python run.py")

logger = logging.getLogger("bellwire")

# A thread that has the interpreter gives it to another one that waits after this time: commits wait for it several times.
SWITCH_SECONDS = 0.0005
# Many small collections, so that none is long: the loop stands still meanwhile.
GC_THRESHOLDS = (500, 5, 800)
PAGE_ITEMS = 1000
ACTIONS = {
    "ban": "ban a user: all connections are closed and every token ends",
    "unban": "end a ban",
    "disable": "disable an account: all connections are closed and every token ends",
    "enable": "enable a disabled account",
    "sign-out": "end every token and close all connections of a user",
    "delete": "delete an account and its personal data",
    "reset-link": "print a link with which the user sets a new password",
    "remove-password": "remove the password, so that tokens of the identity provider may name the account",
}
# How it is called: in the installed package by its name.
PROGRAM = "bellwire" if Path(__file__).with_name("__main__.py").exists() else f"{sys.executable} run.py"
# Whom a command means.
WHO = "EMAIL|NAME|ID"

Command = Callable[[Settings, Namespace], int | None]


def arguments() -> ArgumentParser:
    parser = ArgumentParser(prog=PROGRAM.rpartition("/")[2], description=__doc__)
    parser.set_defaults(run=run_server, fd=None)
    parser.add_argument("--version", action="version", version=f"Bellwire {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, run: Command, help: str, *, to: Any = commands) -> ArgumentParser:
        made: ArgumentParser = to.add_parser(name, help=help, description=help)
        made.set_defaults(run=run)
        return made

    def group(name: str, help: str) -> Any:
        return commands.add_parser(name, help=help, description=help).add_subparsers(required=True, metavar="COMMAND")

    serve = command("serve", run_server, "serve (the default)")
    serve.add_argument("--fd", type=int, help=argparse.SUPPRESS)

    token = command("token", print_tokens, "print an access token for each of the given users, one per line")
    token.add_argument("--user", action="extend", nargs="+", default=[], metavar=WHO)
    token.add_argument("--users", type=Path, metavar="FILE", help="a file with one user per line")
    token.add_argument("--ttl", type=int, default=24 * 3600, metavar="SECONDS", help="lifetime; default: a day")

    users = group("user", "create, list and administer users")
    add = command("add", add_user, "create a user and print it as JSON", to=users)
    add.add_argument("email")
    for name in ("name", "id", "uuid"):
        add.add_argument(f"--{name}")
    add.add_argument("--password", help="use - to read it from standard input, so that no process list shows it")
    add.add_argument("--number", type=int)
    listed = command("list", list_users, "print all users as JSON, one per line", to=users)
    of_one = [command("show", show_user, "print a user as JSON", to=users)]
    for action, text in ACTIONS.items():
        of_one.append(command(action, act_on_user, text, to=users))
        of_one[-1].set_defaults(action=action)
    for each in of_one:
        each.add_argument("who", metavar=WHO)

    tenants = group("tenant", "create and list tenants")
    new = command("add", add_tenant, "create a tenant and print it as JSON", to=tenants)
    new.add_argument("name")
    new.add_argument("--uuid")
    command("list", list_tenants, "print all tenants as JSON, one per line", to=tenants)

    webhooks = group("webhook", "list webhooks")
    hooks = command("list", list_webhooks, "print a tenant's webhooks as JSON, one per line", to=webhooks)

    push = command("push", show_pushes, "print the newest dead letters of push as JSON, retry one, or test a device")
    push.add_argument("--retry", type=int, metavar="NUMBER")
    push.add_argument(
        "--test", metavar="DEVICE", help="push to the devices of this id, and print what the provider answers"
    )
    push.add_argument(
        "--dry-run", action="store_true", help="with --test: only ask Google whether it would accept the push"
    )
    for each in (token, add, listed, *of_one, hooks, push):
        each.add_argument("--tenant", metavar="UUID", help="default: the tenant of users who name none")
    for each in (token, add):
        each.add_argument("--permission", action="append", default=[], dest="permissions", metavar="NAME")

    command("migrate", migrate, "migrate the database to the newest schema")
    check = command("check", check_settings, "print the effective settings with secrets masked, or audit the ledger")
    check.add_argument("what", nargs="?", choices=["ledger"], help="ledger: audit all credits; exit code 1 on a fault")
    backup = command("backup", make_backup, "write a backup into one file; the server may be running")
    restore = command("restore", restore_backup, "restore a backup into an empty database")
    for each in (backup, restore):
        each.add_argument("file", type=Path)

    keys = group("keys", "manage the secret that signs tokens")
    rotate = command("rotate", rotate_keys, "sign with a new secret; the previous one still verifies", to=keys)
    rotate.add_argument("--forget", action="store_true", help="it does not: all users must log in again")
    searches = group("search", "manage the index that searches use")
    command("rebuild", rebuild_search, "build the search index from nothing; searches go on meanwhile", to=searches)
    epoch = command("epoch", start_epoch, "start a new epoch: every client reloads its history")
    epoch.add_argument("--new", action="store_true", required=True)
    return parser


# Serving


def run_server(settings: Settings, asked: Namespace) -> int | None:
    if asked.fd is None and settings.workers > 1:
        return asyncio.run(Workers(settings).run())
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(settings, asked.fd))
    return None


async def serve(settings: Settings, fd: int | None = None) -> None:
    """Until a signal comes; see ``server/shutdown.py``. ``fd`` is a worker's listening socket."""
    with held_by_server(settings) as lock:
        shutdown = Shutdown(of_worker=fd is not None)
        async with serving(settings, socket.socket(fileno=fd) if fd is not None else None) as services:
            if lock:
                write_address(lock, services.address)
            # What is there now stays; of what comes, connections live long and most of the rest dies by itself.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            sys.setswitchinterval(SWITCH_SECONDS)
            ready = f"Bellwire is at {services.public_url}  (API: {services.public_url}/docs)"
            if settings.log_format == "human":
                print(ready, flush=True)
                print(f"  data in {settings.data_dir.absolute()}; Ctrl+C stops", flush=True)
                if not await services.accounts.has_admin():
                    create = "user add EMAIL --password PASSWORD --permission admin"
                    print(f"  no administrator yet; create one with {PROGRAM} {create}", flush=True)
            else:
                logger.info(ready)
            await shutdown.wait(services)


# Users, tenants, webhooks, pushes


def operate(settings: Settings, command: str, **given: Any) -> Any:
    return asyncio.run(operator.run(settings, command, given))


def show(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False))


def read_password() -> str:
    """A line of the standard input, without echo on a terminal."""
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not password:
        raise Problem("No password on standard input")
    return password


def print_tokens(settings: Settings, asked: Namespace) -> None:
    named = asked.user + (asked.users.read_text().split("\n") if asked.users else [])
    users = [each.strip() for each in named if each.strip()]
    if not users:
        raise Problem(f"Name a user with --user {WHO} or --users FILE")
    tokens = operate(settings, "token", users=users, ttl=asked.ttl, tenant=asked.tenant, permissions=asked.permissions)
    print("\n".join(tokens))


def add_user(settings: Settings, asked: Namespace) -> None:
    names = ("email", "name", "password", "id", "number", "uuid", "tenant", "permissions")
    given = {name: getattr(asked, name) for name in names}
    if given["password"] == "-":
        given["password"] = read_password()
    show(operate(settings, "user add", **given))


def list_users(settings: Settings, asked: Namespace) -> None:
    after = 0
    while True:
        page = operate(settings, "user list", tenant=asked.tenant, after=after, limit=PAGE_ITEMS)
        for each in page["items"]:
            show(each)
        if not page["after"]:
            return
        after = page["after"]


def show_user(settings: Settings, asked: Namespace) -> None:
    show(operate(settings, "user show", who=asked.who, tenant=asked.tenant))


def act_on_user(settings: Settings, asked: Namespace) -> None:
    show(operate(settings, "user act", action=asked.action, who=asked.who, tenant=asked.tenant))


def add_tenant(settings: Settings, asked: Namespace) -> None:
    show(operate(settings, "tenant add", name=asked.name, uuid=asked.uuid))


def list_tenants(settings: Settings, asked: Namespace) -> None:
    for each in operate(settings, "tenant list"):
        show(each)


def list_webhooks(settings: Settings, asked: Namespace) -> None:
    for each in operate(settings, "webhook list", tenant=asked.tenant):
        show(each)


def show_pushes(settings: Settings, asked: Namespace) -> None:
    if asked.dry_run and not asked.test:
        raise SystemExit("--dry-run needs --test DEVICE")
    show(operate(settings, "push", tenant=asked.tenant, retry=asked.retry, test=asked.test, dry_run=asked.dry_run))


# The database and its secrets


def migrate(settings: Settings, asked: Namespace) -> None:
    with held_by_command(
        settings, Problem("A server is using this database; it applied all migrations when it started")
    ):
        asyncio.run(Database(settings.database).migrate())


def check_settings(settings: Settings, asked: Namespace) -> int | None:
    if asked.what == "ledger":
        audit = operate(settings, "check ledger")
        show(audit)
        return 1 if any(audit.values()) else 0
    for name, field in sorted(type(settings).model_fields.items(), key=lambda each: each[0].startswith(LIMIT_PREFIX)):
        value = getattr(settings, name)
        shown = ("********" if value.get_secret_value() else "") if isinstance(value, SecretStr) else value
        print(f"BELLWIRE_{name.upper()}={masked_value(str(shown))}  # {field.description}")
    return None


def make_backup(settings: Settings, asked: Namespace) -> None:
    show(operator.make_backup(settings, asked.file))
    print(f"{asked.file}: {asked.file.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


def restore_backup(settings: Settings, asked: Namespace) -> None:
    show(operator.restore_backup(settings, asked.file))


def rotate_keys(settings: Settings, asked: Namespace) -> None:
    kept = rotate_secret(settings, forget=asked.forget)
    show({"signs": key_id(kept[0]), "verifies": [key_id(each) for each in kept]})
    print("Restart the server: it uses the previous secret until then", file=sys.stderr)


def start_epoch(settings: Settings, asked: Namespace) -> None:
    print(operate(settings, "epoch --new"))


def rebuild_search(settings: Settings, asked: Namespace) -> None:
    show(operate(settings, "search rebuild"))


def sentence_of(error: Exception, settings: Settings | None) -> str:
    """What is printed for an error that the person at the command line can act on."""
    match error:
        case ValidationError():
            named = (
                (f"BELLWIRE_{str(each['loc'][0]).upper()}: " if each["loc"] else "", each) for each in error.errors()
            )
            return "\n".join(name + masked(each["msg"].removeprefix("Value error, ")) for name, each in named)
        case Unavailable() if settings:
            return f"The database can't be reached: {masked_value(settings.database)}"
        case Problem():
            return operator.reason(error)
        case _:
            return masked(str(error))


def main() -> int:
    asked = arguments().parse_args()
    # What is written holds people's messages: it is for its owner alone.
    os.umask(0o077)
    settings = None
    try:
        if unknown := unknown_names():
            raise ValueError("\n".join(unknown))
        settings = Settings()
        output = sys.stdout if asked.run is run_server else sys.stderr
        logs.configure(settings.log_level, settings.log_format, output)
        status = asked.run(settings, asked) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of the output has stopped reading, as ``head`` does; what is still buffered has no destination.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Problem, ValueError, OSError, NotMigrated, DatabaseBroken, Busy, NoBackup) as error:
        print(sentence_of(error, settings), file=sys.stderr)
        return 2 if isinstance(error, ValidationError) else 1


if __name__ == "__main__":
    sys.exit(main())

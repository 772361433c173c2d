"""The command line: serve (the default), and what an operator does beside it. See ``python run.py --help``."""

import argparse
import asyncio
import contextlib
import gc
import getpass
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path

try:
    from pydantic import SecretStr, ValidationError

    from realtime.signing import key_id
    from server import logs, operator
    from server.app import drain, serving
    from server.masking import masked, masked_value
    from server.secret_file import rotate_secret
    from server.settings import Settings, unknown_names
    from server.workers import Workers
    from storage.backup import NoBackup
    from storage.database import Database, DatabaseBroken
    from storage.errors import Problem, Unavailable
    from storage.migrations import NotMigrated
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed for this Python: run `make install`, then .venv/bin/python run.py")

logger = logging.getLogger("bellwire")

# Many small collections, so that none is long: the loop stands still meanwhile.
SERVING = (None, "serve")
GC_THRESHOLDS = (2_000, 10, 100)


def read_password() -> str:
    """A line of the standard input, not shown where somebody types it."""
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not password:
        raise Problem("No password on standard input")
    return password


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    serving = commands.add_parser("serve", help="serve (the default)")
    serving.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    token = commands.add_parser("token", help="print a token for each user named, one a line")
    token.add_argument("--user", action="extend", nargs="+", default=[], metavar="EMAIL|NAME|ID")
    token.add_argument("--users", type=Path, metavar="FILE", help="a user a line")
    token.add_argument("--ttl", type=int, default=24 * 3600, metavar="SECONDS")
    users = commands.add_parser("user", help="users").add_subparsers(dest="verb", required=True)
    add = users.add_parser("add", help="make a user and print it as JSON")
    add.add_argument("email")
    for name in ("name", "id", "uuid"):
        add.add_argument(f"--{name}")
    add.add_argument("--password", help="- reads it from the standard input, so that no list of processes shows it")
    add.add_argument("--number", type=int)
    verbs = ("ban", "unban", "disable", "enable", "sign-out", "delete", "reset-link")
    acts = [users.add_parser(verb, help=f"{verb} a user, as an admin could") for verb in verbs]
    acts.append(users.add_parser("remove-password", help="let the identity provider's tokens name the account"))
    for act in acts:
        act.add_argument("who", metavar="EMAIL|NAME|ID")
    tenant = commands.add_parser("tenant", help="tenants").add_subparsers(dest="verb", required=True)
    new = tenant.add_parser("add", help="make a tenant and print it as JSON")
    new.add_argument("name")
    new.add_argument("--uuid")
    push = commands.add_parser("push", help="print the pushes that were given up, or try one again")
    push.add_argument("--retry", type=int, metavar="NUMBER")
    for each in (*acts, push):
        each.add_argument("--tenant", metavar="UUID")
    for each in (token, add):
        each.add_argument("--tenant", metavar="UUID")
        each.add_argument("--permission", action="append", default=[], dest="permissions", metavar="P")
    commands.add_parser("migrate", help="bring the database to the newest schema")
    check = commands.add_parser("check", help="print the effective settings, secrets masked; or audit")
    check.add_argument("what", nargs="?", choices=["ledger"], help="ledger: whether all credits add up")
    backup = commands.add_parser("backup", help="write everything into one file, beside a running server too")
    restore = commands.add_parser("restore", help="read a backup into an empty database")
    for each in (backup, restore):
        each.add_argument("file", type=Path)
    keys = commands.add_parser("keys", help="secrets that sign").add_subparsers(dest="verb", required=True)
    rotate = keys.add_parser("rotate", help="sign with a new secret; what the last one signed still counts")
    rotate.add_argument("--forget", action="store_true", help="it does not: everybody has to log in again")
    epoch = commands.add_parser("epoch", help="the name of the history that clients resume from")
    epoch.add_argument("--new", action="store_true", required=True, help="begin a new one; every client reloads")
    return parser


async def serve(settings: Settings, fd: int | None = None) -> None:
    """Until a signal comes. SIGTERM drains, SIGINT and a second signal do not. ``fd`` is a worker's listening socket."""
    with operator.holding(settings) if settings.embedded else contextlib.nullcontext() as lock:
        if settings.embedded and lock is None:
            address = operator.lock_path(settings).read_text().strip()
            raise Problem(f"Another server is using the data directory {settings.data_dir}, at {address}")
        signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, signals.put_nowait, number)
        if fd is not None:
            loop.add_reader(sys.stdin.fileno(), orphaned, signals)
        async with serving(settings, socket.socket(fileno=fd) if fd is not None else None) as services:
            if lock:
                operator.write_address(lock, services.address)
            # What is there now stays; of what comes, connections live long and most of the rest dies by itself.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            ready = f"Bellwire is at {services.public_url}  (API: {services.public_url}/docs)"
            if settings.log_format == "human":
                print(ready, flush=True)
            else:
                logger.info(ready)
            if await signals.get() is signal.SIGTERM:
                draining, hurry = asyncio.create_task(drain(services)), asyncio.create_task(signals.get())
                await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
                if hurry.done():
                    logger.info("second signal received: stopping without draining")
                for task in (draining, hurry):
                    task.cancel()
        if lock:
            operator.write_address(lock, "")


def orphaned(signals: "asyncio.Queue[signal.Signals]") -> None:
    """The process that started this one is gone."""
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    signals.put_nowait(signal.SIGTERM)


async def migrate(settings: Settings) -> None:
    with operator.holding(settings) if settings.embedded else contextlib.nullcontext() as lock:
        if settings.embedded and lock is None:
            raise Problem("A server is using this database; it applied all migrations when it started")
        await Database(settings.database).migrate()


def check(settings: Settings) -> None:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        shown = ("********" if value.get_secret_value() else "") if isinstance(value, SecretStr) else value
        print(f"BELLWIRE_{name.upper()}={masked_value(str(shown))}  # {field.description}")


def main() -> int:
    asked = arguments().parse_args()
    # What is written holds people's messages: it is for its owner alone.
    os.umask(0o077)
    try:
        if unknown := unknown_names():
            raise ValueError("\n".join(unknown))
        settings = Settings()
        logs.configure(
            settings.log_level, settings.log_format, sys.stderr if asked.command not in SERVING else sys.stdout
        )
        match asked.command:
            case "token":
                users = asked.user + (asked.users.read_text().split("\n") if asked.users else [])
                given = {"users": [each.strip() for each in users if each.strip()], "ttl": asked.ttl}
                if not given["users"]:
                    raise Problem("Name a user with --user EMAIL|NAME|ID or --users FILE")
                given |= {"tenant": asked.tenant, "permissions": asked.permissions}
                print("\n".join(asyncio.run(operator.run(settings, "token", given))))
            case "user" if asked.verb != "add":
                given = {"verb": asked.verb, "who": asked.who, "tenant": asked.tenant}
                print(json.dumps(asyncio.run(operator.run(settings, "user act", given)), ensure_ascii=False))
            case "tenant":
                given = {"name": asked.name, "uuid": asked.uuid}
                print(json.dumps(asyncio.run(operator.run(settings, "tenant add", given)), ensure_ascii=False))
            case "push":
                given = {"tenant": asked.tenant, "retry": asked.retry}
                print(json.dumps(asyncio.run(operator.run(settings, "push", given)), ensure_ascii=False))
            case "user":
                names = ("email", "name", "password", "id", "number", "uuid", "tenant", "permissions")
                given = {name: getattr(asked, name) for name in names}
                if given["password"] == "-":
                    given["password"] = read_password()
                print(json.dumps(asyncio.run(operator.run(settings, "user add", given)), ensure_ascii=False))
            case "epoch":
                print(asyncio.run(operator.run(settings, "epoch --new", {})))
            case "backup":
                print(json.dumps(operator.make_backup(settings, asked.file)))
            case "restore":
                print(json.dumps(operator.restore_backup(settings, asked.file)))
            case "keys":
                kept = rotate_secret(settings, forget=asked.forget)
                print(json.dumps({"signs": key_id(kept[0]), "verifies": [key_id(each) for each in kept]}))
                print("Restart the server: it goes on with the old secret until then", file=sys.stderr)
            case "migrate":
                asyncio.run(migrate(settings))
            case "check" if asked.what == "ledger":
                audit = asyncio.run(operator.run(settings, "check ledger", {}))
                print(json.dumps(audit))
                return 0 if not any(audit.values()) else 1
            case "check":
                check(settings)
            case _:
                fd = getattr(asked, "fd", None)
                if fd is None and settings.workers > 1:
                    return asyncio.run(Workers(settings).run())
                asyncio.run(serve(settings, fd))
    except ValidationError as error:
        for each in error.errors():
            name = f"BELLWIRE_{str(each['loc'][0]).upper()}: " if each["loc"] else ""
            print(name + masked(each["msg"].removeprefix("Value error, ")), file=sys.stderr)
        return 2
    except Unavailable:
        print(f"The database can't be reached: {masked_value(settings.database)}", file=sys.stderr)
        return 1
    except Problem as problem:
        print(operator.reason(problem), file=sys.stderr)
        return 1
    except (ValueError, OSError, NotMigrated, DatabaseBroken, operator.Busy, NoBackup) as error:
        print(masked(str(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

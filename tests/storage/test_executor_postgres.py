"""PostgreSQL as it fails: silent links, connections that end, servers that only read."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from sqlalchemy import make_url, text

from server.readiness import Readiness
from storage import executor_postgres, log
from storage.database import Database
from storage.errors import Unavailable
from storage.executor_postgres import PostgresExecutor
from storage.pipeline import closing_after
from storage.transaction import Command, Tx
from tests.support.guard import HANG_SECONDS
from tests.support.postgres import connect
from tests.support.proxy import Proxy


@dataclass
class Behind:
    """A database behind a proxy, by which it is reached."""

    database: Database
    proxy: Proxy
    url: str

    @property
    def executor(self) -> PostgresExecutor:
        executor = self.database.writer.executor
        assert isinstance(executor, PostgresExecutor)
        return executor

    async def write(self) -> int:
        return await self.database.write(Command(lambda tx: log.open_channel(tx, "chat:one")))

    async def reasons(self) -> list[str]:
        return await Readiness(self.database).reasons()


@pytest.fixture
async def behind(postgres_database: str) -> AsyncIterator[Behind]:
    url = make_url(postgres_database)
    place = str(url.query["host"])
    async with Proxy(lambda: f"{place}/.s.PGSQL.5432") as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port, query={"sslmode": "disable"})
        database = Database(
            through.render_as_string(hide_password=False), read_seconds=HANG_SECONDS, write_seconds=HANG_SECONDS
        )
        await database.start()
        yield Behind(database, proxy, postgres_database)
        await database.close()


async def test_a_link_that_went_silent_costs_one_batch_its_time(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch gets a new connection, and so do all after it."""
    await behind.write()
    # The first try ends soon; the second has all the time it needs.
    deadlines = iter([0.1])
    monkeypatch.setattr(
        executor_postgres, "closing_after", lambda it, seconds: closing_after(it, next(deadlines, seconds))
    )
    behind.proxy.swallow_open()
    async with asyncio.timeout(HANG_SECONDS):
        await behind.write()
        await behind.write()


async def test_a_link_that_is_cut_before_the_commit_is_answered_leaves_it_unknown(behind: Behind) -> None:
    pk, unknown = await behind.write(), list[set[int]]()
    behind.database.writer.on_unknown = unknown.append
    applied: list[int] = []

    def apply(tx: Tx) -> None:
        applied.append(log.append(tx, pk, "note", {}).seq)
        behind.proxy.cut()

    with pytest.raises(Unavailable, match="not known"):
        await behind.database.write(Command(apply, channels=[pk]))
    assert applied == [1], "it is not run again: it may be committed"
    assert unknown == [{pk}]
    assert await behind.write()


async def test_a_server_that_is_silent_to_all_is_unavailable(behind: Behind) -> None:
    await behind.write()
    behind.executor.seconds = 0.1
    behind.proxy.swallow(True)
    with pytest.raises(Unavailable):
        async with asyncio.timeout(HANG_SECONDS):
            await behind.write()
    behind.executor.seconds = HANG_SECONDS
    behind.proxy.swallow(False)
    await behind.write()


async def test_connections_that_the_server_ended_are_replaced(behind: Behind) -> None:
    await asyncio.gather(*(behind.database.read(lambda it: it.execute(text("SELECT 1")).scalar()) for _ in range(4)))
    await behind.write()
    other = await connect(behind.url)
    here = "datname = current_database() AND pid <> pg_backend_pid()"
    ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {here}"
    for _ in range(3):
        await other.execute(ended)
        await behind.write()
    await other.close()


@pytest.mark.parametrize("how", ["read only", "cut"])
async def test_a_server_that_does_not_write_is_503_and_heals_by_itself(
    behind: Behind, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """As a standby after a fail-over: it reads, and refuses to write."""
    caplog.set_level(logging.INFO)
    await behind.write()
    assert await behind.reasons() == []
    other = await connect(behind.url)
    name = make_url(behind.url).database
    if how == "read only":
        await other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        behind.proxy.cut()
    else:
        behind.proxy.target = lambda: None
        behind.proxy.cut()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await behind.write()
    assert await behind.reasons() == ["the database does not answer, or can't be written"]
    if how == "read only":
        assert await behind.database.read(lambda it: it.execute(text("SELECT 1")).scalar()) == 1
        await other.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    else:
        place = str(make_url(behind.url).query["host"])
        behind.proxy.target = lambda: f"{place}/.s.PGSQL.5432"
    assert await behind.write()
    assert await behind.reasons() == []
    assert not [record for record in caplog.records if record.exc_info], "a line in the log, never a traceback"
    await other.close()


async def test_a_statement_that_was_cancelled_is_503(behind: Behind) -> None:
    """57014, as after statement_timeout; the connection is good."""
    cancel = text("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(1000)")
    with pytest.raises(Unavailable):
        await behind.database.write(Command(lambda tx: tx.execute(cancel)))
    assert await behind.write()


async def test_all_who_ask_for_readiness_share_one_look(behind: Behind) -> None:
    readiness, batches = Readiness(behind.database), behind.database.writer.commits.count
    assert await asyncio.gather(*(readiness.reasons() for _ in range(20))) == [[]] * 20
    assert await readiness.reasons() == []
    assert behind.database.writer.commits.count - batches == 1


async def test_a_full_queue_is_ready(behind: Behind) -> None:
    behind.database.writer.size = 0
    assert await behind.reasons() == []

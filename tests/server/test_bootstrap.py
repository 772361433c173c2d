"""What was started is released in reverse order, also where a later start fails."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from push.worker import Worker
from realtime.accounts import Accounts
from realtime.cluster.nodes import Nodes
from realtime.fanout.hub import Hub
from server.app import serving
from server.bootstrap import build, running
from server.settings import Settings
from storage.database import Database
from storage.models import nodes


class Broken(Exception):
    """A start that fails on purpose"""


async def fails(self: Any) -> None:
    raise Broken


def settings_of(folder: Path, **given: Any) -> Settings:
    return Settings(_env_file=None, data_dir=folder, port=0, **given)


def writers() -> int:
    return sum(each.name == "writer" for each in threading.enumerate())


async def test_a_database_is_closed_where_a_later_start_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = writers()
    with monkeypatch.context() as patched:
        patched.setattr(Accounts, "start", fails)
        with pytest.raises(Broken):
            async with build(settings_of(tmp_path)):
                pytest.fail("it started")
    assert writers() == before
    async with build(settings_of(tmp_path)) as services:
        assert services.accounts.default_tenant.pk == 1 and writers() == before + 1
    assert writers() == before


async def test_a_node_that_can_not_start_leaves_no_entry(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    leave, stop = Nodes.stop, Worker.stop

    async def left(self: Nodes) -> None:
        stopped.append("node")
        await leave(self)

    async def ended(self: Worker, seconds: float = 15.0) -> None:
        stopped.append("worker")
        await stop(self, seconds)

    monkeypatch.setattr(Nodes, "stop", left)
    monkeypatch.setattr(Worker, "stop", ended)
    monkeypatch.setattr(Worker, "start", fails)
    async with build(settings_of(tmp_path, database_url=postgres_database)) as services:
        with pytest.raises(Broken):
            async with running(services):
                pytest.fail("it started")
        assert stopped == ["worker", "node"]
        assert await services.database.read(lambda it: it.execute(select(nodes.c.id)).all()) == []


async def test_a_commit_before_all_is_built_calls_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit before the hub and the worker exist is ignored."""
    start = Database.start
    called: list[str] = []
    monkeypatch.setattr(Hub, "publish", lambda self, events: called.append("publish"))
    monkeypatch.setattr(Hub, "on_suspect", lambda self, channels: called.append("suspect"))

    async def early(self: Database) -> None:
        await start(self)
        self.on_commit([])
        self.on_unknown({1})

    monkeypatch.setattr(Database, "start", early)
    async with serving(settings_of(tmp_path)) as services:
        assert called == []
        services.database.on_unknown({1})
        assert called == ["suspect"]

from collections.abc import Mapping
from pathlib import Path

from server.figure_history import KEPT_SECONDS, MOST_POINTS, SAMPLE_SECONDS, FigureHistory
from storage.nodes import Seen
from storage.types import SECOND, now
from tests.conftest import Served

NOON = 1_700_000_000 * SECOND
STEP = int(SAMPLE_SECONDS * SECOND)


def seen(id: str, figures: Mapping[str, float]) -> Seen:
    return Seen(id, f"host 4026 {id}", NOON, NOON, figures)


async def test_each_node_has_a_series_of_at_most_so_many_points(tmp_path: Path) -> None:
    history = FigureHistory(tmp_path)
    count = 3 * MOST_POINTS
    for index in range(count):
        nodes = [
            seen("a", {"sockets": index, "commits": 2 * index}),
            *([seen("b", {"sockets": 7})] if index % 2 else []),
        ]
        await history.record(nodes, NOON + index * STEP)
    last = NOON + (count - 1) * STEP
    whole = {each.id: each for each in history.series(seconds=count * int(SAMPLE_SECONDS), at=last)}
    assert set(whole) == {"a", "b"}
    assert len(whole["a"].times) == MOST_POINTS and whole["a"].times[-1] == last
    assert whole["a"].figures["commits"][-1] == 2 * (count - 1) and set(whole["b"].figures) == {"sockets"}
    near = {each.id: each for each in history.series(seconds=60, at=last)}
    assert near["a"].figures["sockets"] == list(range(count - 6, count))


async def test_it_is_there_after_a_restart_without_what_is_older_than_a_day(tmp_path: Path) -> None:
    history = FigureHistory(tmp_path)
    await history.record([seen("a", {"sockets": 1})], NOON)
    await history.record([seen("a", {"sockets": 2})], NOON + KEPT_SECONDS * SECOND // 2)
    await history.record([seen("a", {"sockets": 3})], NOON + KEPT_SECONDS * SECOND + 1)
    files = sorted(tmp_path.glob("*.jsonl"))
    files[-1].write_bytes(files[-1].read_bytes() + b'[17, "torn')
    again = FigureHistory(tmp_path)
    at = NOON + KEPT_SECONDS * SECOND + 2
    await again.load(at)
    for each in (history, again):
        assert [one.figures["sockets"] for one in each.series(seconds=KEPT_SECONDS, at=at)] == [[2, 3]]
    await again.record([seen("a", {"sockets": 4})], NOON + 3 * KEPT_SECONDS * SECOND)
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


async def test_a_disk_that_is_full_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = FigureHistory(tmp_path / "file" / "folder")
    await history.record([seen("a", {"sockets": 1})], NOON)
    assert len(history.series(seconds=60, at=NOON)) == 1


async def test_the_monitor_gets_it(server: Served) -> None:
    admin = await server.people.make(permissions=["admin"], grant=["admin", "platform.admin"])
    await server.services.figure_history.record([seen("a", {"sockets": 5})], now())
    answer = await admin.get("/api/v1/admin/nodes/history?seconds=86400")
    (item,) = [each for each in answer.json["data"]["items"] if each["id"] == "a"]
    assert item["place"] == "host a" and item["figures"] == {"sockets": [5]} and len(item["times"]) == 1
    assert abs(item["times"][0] * 1000 - now()) < 3600 * SECOND
    for wrong in ("10", "86401", "x"):
        assert (await admin.get(f"/api/v1/admin/nodes/history?seconds={wrong}")).status == 400
    assert (await (await server.people.make()).get("/api/v1/admin/nodes/history")).status == 403

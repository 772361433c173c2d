"""Every metric of the code is documented and on the dashboard, and the other way round; and they count."""

import json
import re
from pathlib import Path

from tests.conftest import ServerFactory

NAME = re.compile(r"\bbellwire_[a-z_]+\b")
SUFFIX = re.compile(r"_(total|sum|count)$")


def names(text: str) -> set[str]:
    return {SUFFIX.sub("", name) for name in NAME.findall(text)}


def test_every_metric_is_documented_and_shown() -> None:
    code = names(Path("server/metrics.py").read_text())
    assert names(Path("docs/metrics.md").read_text()) == code
    dashboard = json.loads(Path("deploy/grafana.json").read_text())
    assert names(" ".join(each["expr"] for panel in dashboard["panels"] for each in panel["targets"])) == code


async def test_they_count(serve: ServerFactory) -> None:
    server = await serve()
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    socket, other = await ann.socket(), await bob.socket()
    await socket.call("message:send", {"type": "text", "chatId": chat, "content": "x"})
    await socket.call("nothing", {})
    await other.event("message:new")
    text = (await ann.get("/metrics")).body.decode()
    await socket.close()
    await other.close()
    for line in (
        "bellwire_sockets 2.0", "bellwire_sessions 2.0", 'bellwire_connects_total{outcome="accepted"} 2.0',
        'bellwire_events_total{event="message:send"} 1.0', 'bellwire_events_total{event="unknown"} 1.0',
        'bellwire_http_requests_total{method="POST",route="/api/v2/chats",status="201"} 1.0',
        'bellwire_http_seconds_count{route="/api/v2/chats"} 1.0', "bellwire_outbound_bytes 0.0",
    ):  # fmt: skip
        assert f"\n{line}\n" in text, line
    seconds = re.search(r"^bellwire_commit_seconds_total (\S+)$", text, re.MULTILINE)
    assert seconds and 0 < float(seconds[1]) < 60
    assert names(text) <= names(Path("docs/metrics.md").read_text())

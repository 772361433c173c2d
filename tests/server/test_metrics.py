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


async def test_the_metrics_are_for_private_networks_or_with_a_token(serve: ServerFactory) -> None:
    server = await serve(metrics_token="a token for monitoring", trusted_proxies="127.0.0.1/32")
    anonymous, outside = server.people.anonymous, {"X-Forwarded-For": "9.9.9.9"}
    assert (await anonymous.get("/metrics")).status == 200
    assert (await anonymous.get("/metrics", headers=outside)).status == 401
    for token, status in (("wrong", 401), ("a token for monitoring", 200)):
        given = {**outside, "Authorization": f"Bearer {token}"}
        assert (await anonymous.get("/metrics", headers=given)).status == status
    without = await serve(trusted_proxies="127.0.0.1/32")
    for headers in (outside, {**outside, "Authorization": "Bearer "}, {**outside, "Authorization": "Bearer x"}):
        assert (await without.people.anonymous.get("/metrics", headers=headers)).status == 401


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

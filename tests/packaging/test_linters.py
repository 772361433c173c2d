"""The API's descriptions pass the linters that their readers use, without a warning."""

import asyncio
import os
from pathlib import Path

import orjson
import pytest

from realtime.schema.limits import Limits
from server import asyncapi, openapi
from server.routes import ROUTES

BIN = Path("tests/node_modules/.bin").absolute()
URL = "https://chat.example.org"
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
# It wants an address for mail, and the newest version, which few tools read.
RULES = """
extends: ["spectral:oas", "spectral:asyncapi"]
rules: {asyncapi-info-contact-properties: off, asyncapi-latest-version: off}
"""


async def output(node: str, *command: str, folder: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        node, *command, cwd=folder, env={**os.environ, **QUIET},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "openapi.json").write_bytes(orjson.dumps(openapi.document(ROUTES, Limits(), URL)))
    (tmp_path / "asyncapi.json").write_bytes(orjson.dumps(asyncapi.document(Limits(), URL)))
    (tmp_path / ".spectral.yaml").write_text(RULES)
    return tmp_path


async def test_redocly_has_no_warning(node: str, folder: Path) -> None:
    status, said = await output(node, str(BIN / "redocly"), "lint", "openapi.json", folder=folder)
    assert status == 0 and "Your API description is valid" in said, said
    assert "warning" not in said.partition("validating")[2], said


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.json"])
async def test_spectral_has_no_warning(node: str, folder: Path, name: str) -> None:
    status, said = await output(
        node, str(BIN / "spectral"), "lint", name, "--fail-severity=hint", "--fail-on-unmatched-globs", folder=folder
    )
    assert status == 0, said


async def test_they_notice_a_wrong_example(node: str, folder: Path) -> None:
    document = orjson.loads((folder / "openapi.json").read_bytes())
    body = document["paths"]["/api/v2/chats"]["post"]["requestBody"]["content"]["application/json"]
    body["example"]["type"] = "crowd"
    (folder / "openapi.json").write_bytes(orjson.dumps(document))
    _, said = await output(node, str(BIN / "redocly"), "lint", "openapi.json", folder=folder)
    assert "warning" in said.partition("validating")[2]
    status, _ = await output(node, str(BIN / "spectral"), "lint", "openapi.json", folder=folder)
    assert status == 1

"""Clients that generators make of ``/openapi.json``, without an option: they compile, and send the published example."""

import os
import re
import sys
from pathlib import Path

import orjson
import pytest

from tests.conftest import Served
from tests.packaging.test_wheel import output
from tests.server.test_seed_message import REQUEST, provision

NODE_MODULES = Path("tests/node_modules").absolute()
TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { paths, components } from "./api";

const client = createClient<paths>({ baseUrl: %(url)s, headers: { Authorization: "Bearer " + %(token)s } });
const body: components["schemas"]["SendMessage"] = %(body)s;
const { data, error, response } = await client.POST("/api/v2/messages", { body });
if (error) throw new Error(JSON.stringify(error));
const id: string = data._id;
const group = await client.POST("/api/v2/chats", { body: { type: "group", name: "Group" } });
const name: string | null | undefined = group.data?.name;
const chats = await client.GET("/api/v2/chats", { params: { query: { limit: 1 } } });
const first: string | undefined = chats.data?.items[0]?._id;
console.log(JSON.stringify([response.status, id.length, name, first?.length]));
"""
TSCONFIG = {
    "compilerOptions": {
        "strict": True, "target": "es2022", "module": "esnext", "moduleResolution": "bundler", "skipLibCheck": True,
        "lib": ["es2022", "dom", "dom.iterable"], "types": [],
    },
    "include": ["*.ts"],
}  # fmt: skip
PYTHON = """
import importlib, json, pkgutil, sys
import client
from client import AuthenticatedClient
from client.api.messages import post_messages
from client.models import SendMessage

url, token, body = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
for module in pkgutil.walk_packages(client.__path__, "client."):
    importlib.import_module(module.name)
with AuthenticatedClient(url, token) as session:
    answer = post_messages.sync_detailed(client=session, body=SendMessage.from_dict(body))
print(answer.status_code.value, len(answer.parsed.field_id))
"""
# What they answer is no JSON.
PLAIN_ANSWERS = {
    "GET /api/v1/users/{id}/avatar",
    "GET /api/v2/media/{id}",
    "GET /api/v2/media/{id}/thumbnail",
    "POST /api/v1/admin/users/{id}/export",
    "POST /api/v1/users/me/export",
}


@pytest.fixture
async def document(server: Served, tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_bytes((await server.people.anonymous.get("/openapi.json")).body)
    return path


async def test_typescript(server: Served, node: str, document: Path, tmp_path: Path) -> None:
    sender, _ = await provision(server)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    tools = NODE_MODULES / ".bin"
    await output(node, (tools / "openapi-typescript").resolve(), document, "-o", tmp_path / "api.d.ts")
    values = {"url": server.url, "token": sender.token, "body": REQUEST}
    (tmp_path / "main.ts").write_text(TYPESCRIPT % {name: orjson.dumps(each).decode() for name, each in values.items()})
    (tmp_path / "tsconfig.json").write_bytes(orjson.dumps(TSCONFIG))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    await output(node, (tools / "tsc").resolve(), "-p", tmp_path)
    said = await output(node, tmp_path / "main.js")
    assert orjson.loads(said) == [201, 24, "Group", 24]


async def test_python(server: Served, document: Path, tmp_path: Path) -> None:
    sender, _ = await provision(server)
    programs = Path(sys.executable).parent
    paths = {"PATH": f"{programs}:{os.environ['PATH']}"}
    said = await output(
        programs / "openapi-python-client", "generate", "--path", document, "--output-path", tmp_path / "client",
        "--meta", "none", environment=paths,
    )  # fmt: skip
    assert set(re.findall(r"WARNING parsing (\w+ \S+)", said)) == PLAIN_ANSWERS, said
    body = orjson.dumps(REQUEST).decode()
    sent = await output(sys.executable, "-c", PYTHON, server.url, sender.token or "", body, folder=tmp_path)
    assert sent == "201 24\n"

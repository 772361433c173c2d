"""Schemathesis over the OpenAPI document that the server serves: every operation, good and bad requests, all its checks.

``python -m tests.fuzz.api --cases 20000 --seed 1`` starts a server of its own, and counts what must be 0.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.support.files import encoded
from tests.support.process import ProcessUser, ServerProcess

# aiohttp counts the methods of all patterns that a path fits, /notifications/{id} for /notifications/read-all too.
# What is good by the schema may still be refused for what only the server knows: a name that is taken, a hidden rule.
ADMIN = ("--permission=admin", "--permission=platform.admin")
LEFT_OUT = "allow_header_conformance,positive_data_acceptance"
PLENTY = dict.fromkeys(
    (
        "max_sends_per_second", "max_sends_at_once", "max_uploads_per_minute", "max_logins_per_address",
        "max_registrations_per_address", "max_failed_logins", "max_devices", "max_activities", "max_streams_followed",
    ),
    10**6,
)  # fmt: skip


async def world(admin: ProcessUser) -> dict[str, list[Any]]:
    """Ids of something of each kind."""
    others = await admin.others(3)
    users = [each.id for each in others]
    chats = [
        (await admin.post("/api/v2/chats", {"type": "group", "name": "x", "memberIds": users})).json["_id"]
        for _ in range(3)
    ]
    text = {"type": "text", "chatId": chats[0], "content": "x"}
    messages = [(await admin.post("/api/v2/messages", text)).json["_id"] for _ in range(3)]
    form = aiohttp.FormData()
    form.add_field("file", encoded("PNG", (64, 48)), filename="a.png")
    media = [(await admin.post("/api/v2/media", data=form)).json["id"]]
    return {"users": users, "me/blocks": users, "members": users, "chats": chats, "messages": messages, "media": media}


async def run(examples: int, seed: int, phases: str) -> dict[str, Any]:
    """The figures; ``failures``, ``errors_5xx`` and ``tracebacks`` must be 0, and no operation be left out."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        server = ServerProcess(Path(folder) / "data", log_format="json", **PLENTY)
        async with server, aiohttp.ClientSession() as session:
            admin = await server.user(session, "admin@example.org", *ADMIN)
            process = await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json", "--checks=all",
                f"--exclude-checks={LEFT_OUT}", f"--phases={phases}", f"--max-examples={examples}", f"--seed={seed}",
                "--continue-on-failure", "--no-color", "--warnings=off", "--generation-database=none", "--report=json",
                f"--report-json-path={report}",
                env={
                    **os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(Path.cwd()),
                    "FUZZ_URL": server.url,
                    "FUZZ_TOKEN": str(admin.token), "FUZZ_WORLD": orjson.dumps(await world(admin)).decode(),
                    "FUZZ_SEED": str(seed),
                },
                stdout=asyncio.subprocess.PIPE,
                cwd=folder,
            )  # fmt: skip
            said = (await process.communicate())[0].decode()
            alive = (await admin.get("/healthz")).status == 200
            told = orjson.loads(report.read_bytes())
            log = [orjson.loads(line) for line in server.log.read_bytes().splitlines() if line.startswith(b"{")]
    answers = Counter(each["message"].rsplit(" ", 1)[1] for each in log if each["logger"] == "bellwire.access")
    done = {
        each["message"].rsplit(" ", 1)[0]
        for each in log
        if each["logger"] == "bellwire.access" and each["message"].rsplit(" ", 1)[1][0] == "2"
    }
    return {
        "cases": told["test_cases"]["generated"], "seed": seed, "operations": told["operations"]["total"],
        "operations_tested": told["operations"]["tested"], "operations_done": len(done),
        "answers": dict(sorted(answers.items())), "dead": int(not alive),
        "errors_5xx": sum(count for status, count in answers.items() if status >= "5"),
        "tracebacks": sum("error" in each for each in log), "failures": told["test_cases"]["unique_failures"],
        "errors": told["test_cases"]["errored"], "said": said if told["exit_code"] else "",
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=150, help="of each operation, beside those of its limits")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    given = parser.parse_args()
    for name, figure in asyncio.run(run(given.examples, given.seed, given.phases)).items():
        print(f"{name:24}{figure}")

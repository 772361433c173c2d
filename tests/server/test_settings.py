"""Settings as people paste and mistype them: each is a sentence that names the setting, and no password is shown."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.listening import listen
from server.settings import Settings
from tests.support.program import PIPE, Program

CANARY = "CANARY"


async def program(tmp_path: Path, *arguments: str, settings: Mapping[str, str] = {}) -> tuple[int, str, str]:
    """``run.py`` in a folder of its own: its status and what it printed."""
    named = {f"BELLWIRE_{name}": value for name, value in settings.items()}
    process = await Program.start(
        *arguments,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "BELLWIRE_DATA_DIR": str(tmp_path / "data"), "BELLWIRE_PORT": "0", **named},
        stdout=PIPE,
        stderr=PIPE,
    )
    output, problem = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), problem.decode()


async def test_the_effective_settings_are_printed_without_passwords(tmp_path: Path) -> None:
    urls = {"REDIS_URL": "redis://:CANARY1@127.0.0.1:6379", "DATABASE_URL": "postgresql://u:CANARY2@db/x"}
    secrets = {"JWT_SECRET": "CANARY3" * 8, "OTLP_URL": "http://u:CANARY4@collector"}
    status, output, problem = await program(tmp_path, "check", settings=urls | secrets)
    assert status == 0 and problem == "" and CANARY not in output
    assert "BELLWIRE_REDIS_URL=redis://:********@127.0.0.1:6379  #" in output


WRONG = [
    ({"PROT": "1"}, "BELLWIRE_PROT is not a setting; did you mean BELLWIRE_PORT?"),
    ({"LOCAL_ACOUNTS": "false"}, "did you mean BELLWIRE_LOCAL_ACCOUNTS?"),
    (
        {"DATABASE_URL": "mysql://u:CANARY@x"},
        "BELLWIRE_DATABASE_URL: must begin with postgresql:// or sqlite:///",
    ),
    (
        {"DATABASE_URL": "postgresql://u:CANARY@db/x?ssl=require"},
        "BELLWIRE_DATABASE_URL: is not a URL that libpq reads: it has no parameter ssl",
    ),
    (
        {"DATABASE_URL": "postgresql://u:CANARY%zz@db/x"},
        "BELLWIRE_DATABASE_URL: is not a URL that libpq reads: write %XX for special characters, %25 for %",
    ),
    ({"JWT_PUBLIC_KEY": "/nowhere.pem"}, "BELLWIRE_JWT_PUBLIC_KEY: /nowhere.pem cannot be read: No such file"),
    ({"PORT": "tcp://10.0.0.7:80"}, "set enableServiceLinks: false in the pod"),
    ({"APNS_KEY": "/nowhere.p8"}, "BELLWIRE_APNS_KEY: /nowhere.p8 cannot be read: No such file"),
    ({"APNS_CA": "/"}, "BELLWIRE_APNS_CA: / cannot be read: Is a directory"),
    ({"HOST": "0.0.0.0"}, "BELLWIRE_PUBLIC_URL is needed too"),
    ({"HOST": "::"}, "BELLWIRE_PUBLIC_URL is needed too"),
    ({"HOST": "no.such.host.invalid"}, "BELLWIRE_HOST=no.such.host.invalid BELLWIRE_PORT=0 can't be listened on"),
    ({"REDIS_URL": "redis+sentinel://:CANARY@127.0.0.1:1", "DATABASE_URL": "postgresql://x"}, "name of the master"),
]


@pytest.mark.parametrize(("settings", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
async def test_a_wrong_setting_is_named(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    status, output, problem = await program(tmp_path, settings=settings)
    assert status != 0 and sentence in problem, problem
    assert CANARY not in output + problem and "Traceback" not in problem


async def test_a_typo_in_the_file_is_named_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BELLWIRE_PROT=1\nOTHER=2\nBELLWIRE_TEST_POSTGRES=x\n")
    status, _, problem = await program(tmp_path)
    assert status == 1 and problem == "BELLWIRE_PROT is not a setting; did you mean BELLWIRE_PORT?\n"


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        workers: dict[str, str]
        for workers in ({}, {"WORKERS": "2", "DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x"}):
            status, _, problem = await program(tmp_path, settings={"PORT": port} | workers)
            assert status == 1 and f"BELLWIRE_PORT={port} can't be listened on: Address already in use" in problem
            assert "Traceback" not in problem


@pytest.mark.parametrize("module", ["run.py", "tests.load", "tests.faults.prove"])
async def test_outside_the_virtual_environment_it_is_said_what_to_run(tmp_path: Path, module: str) -> None:
    environment = {"PYTHONPATH": str(Path().absolute())}
    command = ["run.py"] if module == "run.py" else ["-m", module]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", *command, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, problem = await process.communicate()
    assert process.returncode == 1
    assert b"is not installed for this Python: run `make install`" in problem and b"Traceback" not in problem


def test_everywhere_needs_the_name_of_the_server() -> None:
    with pytest.raises(ValidationError, match="BELLWIRE_PUBLIC_URL"):
        Settings(_env_file=None, host="0.0.0.0")
    assert Settings(_env_file=None, host="0.0.0.0", public_url="https://chat.example.org").host == "0.0.0.0"

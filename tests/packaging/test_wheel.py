"""The wheel: installed into an empty environment it serves the page, from any folder."""

import asyncio
import contextlib
import os
import shutil
import sys
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.guard import HANG_SECONDS
from tests.support.process import READY


async def output(*command: str | Path, folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


async def install(source: Path, tmp_path: Path, **environment: str) -> Path:
    """The folder of programs of an empty environment with the wheel of ``source`` in it."""
    wheels = tmp_path / "wheels"
    await output(
        sys.executable, "-m", "pip", "wheel", source, "--no-deps", "--wheel-dir", wheels, environment=environment
    )
    (wheel,) = wheels.glob("*.whl")
    await output(sys.executable, "-m", "venv", tmp_path / "venv")
    programs = tmp_path / "venv" / "bin"
    await output(programs / "python", "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    # What it depends on is installed here already; of the project itself nothing is.
    site = Path(
        (await output(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")).strip()
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


@contextlib.asynccontextmanager
async def running(programs: Path, folder: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    process = await asyncio.create_subprocess_exec(
        programs / "bellwire", cwd=folder, env={"BELLWIRE_PORT": "0"}, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        async with asyncio.timeout(HANG_SECONDS), aiohttp.ClientSession() as session:
            ready = READY.fullmatch((await process.stdout.readline()).decode())
            assert ready
            yield session, ready[1]
    finally:
        process.terminate()
        await process.communicate()


async def test_the_wheel_serves_the_page(tmp_path: Path) -> None:
    programs = await install(Path(), tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # Names of other packages are theirs.
    for name in ("server", "static", "push", "run"):
        with pytest.raises(AssertionError, match="No module named"):
            await output(programs / "python", "-c", f"import {name}", folder=elsewhere)
    for name in ("server.py", "run.py"):
        (elsewhere / name).write_text("raise SystemExit('not ours')")
    assert (await output(programs / "bellwire", "--version", folder=elsewhere)).startswith("Bellwire ")
    assert (await output(programs / "python", "-m", "bellwire", "--version", folder=elsewhere)).startswith("Bellwire ")
    doubles = await output(programs / "bellwire", "-m", "push.doubles.apns", "--help", folder=elsewhere)
    assert "python -m push.doubles.apns" in doubles
    async with running(programs, elsewhere) as (session, url):
        for path in ("/", "/vendor/htm.js", "/static/js/app.js", "/docs", "/openapi.json", "/asyncapi.json"):
            async with session.get(url + path) as answer:
                assert answer.status == 200, path
    assert (elsewhere / "data" / "bellwire.db").exists()


async def test_a_fresh_clone_is_installed_without_npm_and_says_how_to_get_the_pages(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in (await output("git", "ls-files", "-co", "--exclude-standard")).splitlines():
        if Path(name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, clone / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    programs = await install(clone, tmp_path, PATH=str(tools))
    async with running(programs, tmp_path) as (session, url):
        async with session.get(f"{url}/openapi.json") as answer:
            assert answer.status == 200
        async with session.get(f"{url}/vendor/htm.js") as answer:
            assert answer.status == 503 and "install the package again where npm is" in await answer.text()

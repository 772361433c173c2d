"""The wheel: installed into an empty environment it serves the page, from any folder."""

import asyncio
import sys
import sysconfig
from pathlib import Path

import aiohttp

from tests.process import READY


async def output(*command: str | Path, folder: Path | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


async def test_the_wheel_serves_the_page(tmp_path: Path) -> None:
    await output(sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--wheel-dir", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    await output(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    await output(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    # What it depends on is installed here already; of the project itself nothing is.
    site = Path((await output(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = await output(python, "-c", "import server, static, run; print(server.__file__)", folder=elsewhere)
    assert where.startswith(str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        tmp_path / "venv" / "bin" / "bellwire",
        cwd=elsewhere,
        env={"BELLWIRE_PORT": "0"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            ready = READY.fullmatch((await process.stdout.readline()).decode())
            assert ready
            for path in ("/", "/vendor/htm.js", "/static/js/app.js", "/docs", "/openapi.json", "/asyncapi.json"):
                async with session.get(ready[1] + path) as answer:
                    assert answer.status == 200, path
        assert (elsewhere / "data" / "bellwire.db").exists()
    finally:
        process.terminate()
        await process.communicate()

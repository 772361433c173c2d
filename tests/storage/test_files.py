"""One suite for every place where files may lie: a folder, and a double of S3."""

import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from moto.server import ThreadedMotoServer

from storage.files import Files


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Where a double of S3 listens."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
async def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    if request.param == "folder":
        return Files(str(tmp_path / "media"))
    address = request.getfixturevalue("s3")
    settings = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1", "ENDPOINT": address,
                "ALLOW_HTTP": "true"}  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    async with aiohttp.ClientSession() as session, session.put(f"{address}/media") as answer:
        assert answer.status == 200
    return Files("s3://media/files")


@pytest.mark.parametrize("size", [0, 1, 1000, 256 * 1024, 12_000_000])
async def test_what_was_put_is_read_in_any_range(files: Files, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    await files.put("ab/one", tmp_path / "source")
    assert await files.size("ab/one") == size
    for start, end in ((0, size), (size // 3, size // 2), (max(0, size - 5), size), (0, min(1, size))):
        assert b"".join([piece async for piece in files.read("ab/one", start, end)]) == data[start:end]
    (tmp_path / "source").write_bytes(b"other")
    await files.put("ab/one", tmp_path / "source")
    assert await files.size("ab/one") == 5


async def test_what_is_not_there(files: Files, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x")
    await files.put("one", tmp_path / "source")
    for _ in range(2):
        await files.delete("one")
    with pytest.raises(FileNotFoundError):
        await files.size("one")
    with pytest.raises(FileNotFoundError):
        _ = [piece async for piece in files.read("one", 0, 1)]

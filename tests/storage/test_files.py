"""One suite for every place where files may lie: a folder, and a double of S3."""

import os
from pathlib import Path

import pytest

from storage.files import Files


@pytest.fixture(params=["folder", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    return Files(str(tmp_path / "media") if request.param == "folder" else request.getfixturevalue("s3"))


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

"""What ``make release`` builds: every part of it, complete, described and the same bytes each time."""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from server.openapi import VERSION
from tests.support.release import load_release


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return load_release()


@pytest.fixture(scope="module")
def built(release: ModuleType, tmp_path_factory: pytest.TempPathFactory, node: str) -> Path:
    """In a clone with a page in the place of the documentation site, which ``make release`` builds before."""
    root = tmp_path_factory.mktemp("clone")
    for name in subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.splitlines():
        if Path(name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, root / name)
    for name in ("static/node_modules", "tests/node_modules"):
        (root / name).symlink_to(Path(name).absolute())
    (root / "static/guide").mkdir()
    (root / "static/guide/index.html").write_text("the site")
    place = root / "dist"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "ROOT", root)
        patch.setattr(release, "check", lambda version: None)
        patch.setattr(release, "commit_time", lambda: "1796000000")
        release.release(place)
        sums = (place / "SHA256SUMS").read_text()
        release.release(place)
    assert (place / "SHA256SUMS").read_text() == sums, "the same commit makes the same bytes"
    return place


def test_a_version_has_a_date_and_is_the_same_everywhere(release: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "GUIDE", Path("docs/index.md"))
    monkeypatch.setattr(release, "run", lambda *command: "")
    release.check(VERSION)
    for version in ("99.0.0", VERSION + ".1"):
        with pytest.raises(release.NotReady, match=re.escape(f"`## {version} (YYYY-MM-DD)`")):
            release.check(version)
    monkeypatch.setattr(release, "run", lambda *command: " M run.py")
    with pytest.raises(release.NotReady, match="not committed"):
        release.check(VERSION)
    monkeypatch.setattr(release, "run", lambda *command: "")
    monkeypatch.setattr(release, "GUIDE", Path("nowhere"))
    with pytest.raises(release.NotReady, match="make docs"):
        release.check(VERSION)


def test_every_part_is_there(built: Path) -> None:
    assert {each.name for each in built.iterdir()} == {
        f"bellwire-{VERSION}-py3-none-any.whl", f"bellwire-{VERSION}.tar.gz", f"bellwire-client-{VERSION}.tgz",
        f"bellwire_client-{VERSION}-py3-none-any.whl", f"bellwire_client-{VERSION}.tar.gz",
        f"bellwire-{VERSION}-python.cdx.json", f"bellwire-{VERSION}-pages.cdx.json", "SHA256SUMS",
    }  # fmt: skip


def test_the_wheel_has_one_name_and_no_tests(built: Path) -> None:
    with zipfile.ZipFile(built / f"bellwire-{VERSION}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
        metadata = wheel.read(f"bellwire-{VERSION}.dist-info/METADATA").decode()
    assert {name.partition("/")[0] for name in names} == {"bellwire", f"bellwire-{VERSION}.dist-info"}
    assert not any("test" in name for name in names if name.endswith(".py"))
    needed = ("run.py", "__main__.py", "server/samples.json", "static/index.html", "static/client/index.js")
    for each in (*needed, "static/guide/index.html"):
        assert f"bellwire/{each}" in names
    assert "Classifier: Topic :: Communications :: Chat" in metadata and "License-Expression: MIT" in metadata


def test_the_source_archive_has_what_a_wheel_is_built_of(built: Path) -> None:
    with tarfile.open(built / f"bellwire-{VERSION}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "deploy/hatch_build.py", "deploy/package_main.py", "clients/js/src/index.js",
            "static/guide/index.html"} <= names  # fmt: skip
    assert not any(name.startswith("tests/") or "node_modules" in name for name in names)


def test_the_bills_of_materials_are_valid_and_complete(built: Path) -> None:
    pinned = set(re.findall(r"^([A-Za-z0-9_.-]+)==", Path("requirements.txt").read_text(), re.M))
    pages = json.loads(Path("static/package.json").read_text())["dependencies"]
    for name, wanted in (("python", pinned), ("pages", set(pages))):
        text = (built / f"bellwire-{VERSION}-{name}.cdx.json").read_text()
        document = json.loads(text)
        version = SchemaVersion.from_version(document["specVersion"])
        assert JsonStrictValidator(version).validate_str(text) is None
        found = {"/".join(filter(None, (each.get("group"), each["name"]))) for each in document["components"]}
        assert wanted <= found
        assert str(Path.home()) not in text and "/tmp/" not in text


def test_the_checksums_are_those_of_the_files(built: Path) -> None:
    lines = [line.split("  ") for line in (built / "SHA256SUMS").read_text().splitlines()]
    assert {name: digest for digest, name in lines} == {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in built.iterdir()
        if each.name != "SHA256SUMS"
    }


def test_it_removes_no_other_files(release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis.odt").write_text("mine")
    monkeypatch.setattr(release, "check", lambda version: None)
    with pytest.raises(release.NotReady, match="other files"):
        release.release(tmp_path)
    assert (tmp_path / "thesis.odt").exists()


def test_the_version_is_written_once() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"] and re.fullmatch(r"\d+\.\d+\.\d+", VERSION)

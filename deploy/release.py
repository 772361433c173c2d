"""Builds a release into ``dist``: ``make release``.

The server as a wheel and a source archive, the JavaScript client for npm, the Python client for PyPI, a bill of materials
(CycloneDX) of the packages that each part of the server brings, and the checksums of all files. Nothing is published.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from realtime.schema.limits import Limits  # noqa: E402
from server import asyncapi, openapi  # noqa: E402
from server.routes import ROUTES  # noqa: E402

GUIDE = ROOT / "static/guide/index.html"
SUMS = "SHA256SUMS"
URL = "https://chat.example.org"


class NotReady(Exception):
    """What has to be done before a release."""


def check(version: str) -> None:
    """Raises NotReady."""
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", (ROOT / "CHANGELOG.md").read_text(), re.M):
        raise NotReady(f"CHANGELOG.md has no heading `## {version} (YYYY-MM-DD)`")
    for path in ("clients/js/package.json", "clients/python/pyproject.toml", "static/package.json"):
        if f'"{version}"' not in (ROOT / path).read_text():
            raise NotReady(f"{path} has another version than {version}")
    if run("git", "status", "--porcelain"):
        raise NotReady("There are changes that are not committed")
    if not GUIDE.exists():
        raise NotReady("The documentation site is not built: run `make docs`")


def run(*command: str | Path, folder: Path = ROOT) -> str:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": commit_time()}
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def commit_time() -> str:
    """Of the newest commit, so that archives of one commit are the same bytes."""
    command = ("git", "log", "-1", "--format=%ct")
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def build_javascript(place: Path) -> None:
    """With the types that its sources and the server's documents give."""
    work = place / "javascript"
    shutil.copytree(ROOT / "clients/js", work, ignore=shutil.ignore_patterns("node_modules", "types"))
    (place / "openapi.json").write_text(json.dumps(openapi.document(ROUTES, Limits(), URL)))
    (place / "asyncapi.json").write_text(json.dumps(asyncapi.document(Limits(), URL)))
    run("node", work / "generate.mjs", "openapi.json", "asyncapi.json", ROOT / "tests", folder=place)
    (work / "node_modules").symlink_to(ROOT / "tests/node_modules")
    run("node", ROOT / "tests/node_modules/typescript/bin/tsc", "-p", ".", folder=work)
    (work / "node_modules").unlink()
    run("npm", "pack", "--loglevel=error", "--ignore-scripts", "--pack-destination", place, folder=work)
    shutil.rmtree(work)
    for name in ("openapi.json", "asyncapi.json"):
        (place / name).unlink()


def write_materials(place: Path, version: str) -> None:
    """What the server brings from PyPI, and what its pages bring from npm."""
    of_python = place / f"bellwire-{version}-python.cdx.json"
    run(
        sys.executable, "-m", "cyclonedx_py", "requirements", "requirements.txt", "--pyproject", "pyproject.toml",
        "--output-reproducible", "--output-file", of_python,
    )  # fmt: skip
    document = json.loads(of_python.read_text())
    document["metadata"]["component"]["version"] = version
    of_python.write_text(json.dumps(document, indent=2) + "\n")
    of_pages = json.loads(
        run("npm", "sbom", "--package-lock-only", "--sbom-format", "cyclonedx", folder=ROOT / "static")
    )
    # What differs between two runs.
    del of_pages["serialNumber"]
    del of_pages["metadata"]["timestamp"]
    of_pages["metadata"]["component"]["name"] = "bellwire-pages"
    (place / f"bellwire-{version}-pages.cdx.json").write_text(json.dumps(of_pages, indent=2) + "\n")


def write_checksums(place: Path) -> None:
    """As ``sha256sum --check`` reads them."""
    lines = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in sorted(place.iterdir())]
    (place / SUMS).write_text("".join(lines))


def release(place: Path) -> None:
    """Raises NotReady."""
    version = openapi.VERSION
    check(version)
    if place.exists() and any(place.iterdir()) and not (place / SUMS).exists():
        raise NotReady(f"{place} has other files than those of a release")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for source in (ROOT, ROOT / "clients/python"):
        run(sys.executable, "-m", "build", "--wheel", "--sdist", "--outdir", place, source)
        (place / ".gitignore").unlink(missing_ok=True)
    build_javascript(place)
    write_materials(place, version)
    write_checksums(place)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "dist", help="is emptied first")
    asked = parser.parse_args()
    try:
        release(asked.folder.absolute())
    except NotReady as problem:
        sys.exit(str(problem))
    for path in sorted(asked.folder.iterdir()):
        print(f"{path.stat().st_size:>10}  {path.name}")

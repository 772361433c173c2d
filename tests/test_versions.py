"""The packages that are installed are none of those with a known hole."""

import re
from pathlib import Path

import pytest
from packaging.version import Version

# Each the first release without the advisories beside it.
FLOORS = {
    "aiohttp": "3.14.5",  # PYSEC-2026-4395, -4389, -4371; CVE-2026-69243, -54273, -54274
    "python-socketio": "5.18.1",  # CVE-2025-61765, CVE-2026-48804
    "python-engineio": "4.15.1",  # GHSA-cgwc-pv48-fhj5
    "pyjwt": "2.15.1",  # CVE-2026-102268, -102266, -102267, -32597
    "pillow": "13.0.0",  # CVE-2026-112403
    "h2": "4.4.1",  # CVE-2026-71554
    "hpack": "4.2.0",  # CVE-2026-59980
    "redis": "8.0.0",  # CVE-2023-28858, -28859
}
PINNED = r"^([A-Za-z0-9_.-]+)==([^ ]+)(?: ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
LOCKED = {name: version for name, version, _ in re.findall(PINNED, Path("requirements.txt").read_text(), re.MULTILINE)}


@pytest.mark.parametrize("name", FLOORS)
def test_none_is_below_its_floor(name: str) -> None:
    assert Version(LOCKED[name]) >= Version(FLOORS[name])


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-test.txt", "requirements-media.txt"])
def test_every_package_has_one_version_and_its_hashes(file: str) -> None:
    text = Path(file).read_text()
    names = re.findall(r"^[^ #][^=]*", text, re.MULTILINE)
    pinned = [name for name, _, _ in re.findall(PINNED, text, re.MULTILINE)]
    assert pinned == names and len(set(names)) == len(names)
    assert names

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
LOCKED = dict(
    re.findall(r"^([A-Za-z0-9_.-]+)(?:\[.*\])?==(.+)$", Path("requirements.txt").read_text().lower(), re.MULTILINE)
)


@pytest.mark.parametrize("name", FLOORS)
def test_none_is_below_its_floor(name: str) -> None:
    assert Version(LOCKED[name]) >= Version(FLOORS[name])


def test_every_package_has_one_version() -> None:
    lines = [line for line in Path("requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(LOCKED)

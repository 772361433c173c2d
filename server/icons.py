"""The icons of the pages: those of ``static/icons.json``, out of the set that npm installs, as one JavaScript module."""

import json
from pathlib import Path
from typing import Any


def module(names: Path, icon_set: Path) -> bytes:
    """``names``: what the pages call an icon, and its name in the set, whose format is https://iconify.design/docs/types/iconify-json.html

    The module exports ``ICONS``: by our name, what is inside of an SVG of 24 by 24.
    """
    wanted: dict[str, str] = json.loads(names.read_bytes())
    found: dict[str, dict[str, Any]] = json.loads(icon_set.read_bytes())["icons"]
    bodies = {name: found[theirs]["body"] for name, theirs in wanted.items()}
    return f"export const ICONS = {json.dumps(bodies)};\n".encode()

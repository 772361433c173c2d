import json
from pathlib import Path

import pytest

from server import icons


def test_the_module_has_the_icons_that_are_named(tmp_path: Path) -> None:
    names, icon_set = tmp_path / "names.json", tmp_path / "set.json"
    icon_set.write_text(json.dumps({"icons": {"x": {"body": '<path d="M0"/>'}, "other": {"body": "no"}}}))
    names.write_text('{"close": "x"}')
    exported = icons.module(names, icon_set).decode()
    assert exported.startswith("export const ICONS = ")
    assert json.loads(exported.removeprefix("export const ICONS = ").rstrip(";\n")) == {"close": '<path d="M0"/>'}
    names.write_text('{"close": "missing"}')
    with pytest.raises(KeyError):
        icons.module(names, icon_set)

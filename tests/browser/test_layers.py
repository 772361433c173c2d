"""The folders of the pages' code are layers: a file imports from its own and from those below, and is about one thing."""

import re
from pathlib import Path

JS = Path("static/js")
LAYERS = ["texts", "ui", "model", "chat", "places", "monitor", ""]
LONGEST_LINES = 250


def layer(path: Path) -> int:
    return LAYERS.index("" if path.parent == JS else path.parent.name)


def test_imports_go_down() -> None:
    upwards = []
    for path in JS.rglob("*.js"):
        for name in re.findall(r'^import .* from "(\.[^"]+)";', path.read_text(), re.M):
            target = (path.parent / name).resolve().relative_to(JS.resolve())
            if layer(JS / target) > layer(path):
                upwards.append((str(path), str(target)))
    assert upwards == []


def test_files_are_short() -> None:
    lengths = {
        str(path): len(path.read_text().splitlines()) for path in JS.rglob("*.js") if path.parent.name != "texts"
    }
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_LINES} == {}

"""Names and texts use the terms of the field: docs/glossary.md. What is listed here was once in use and stays out."""

import ast
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.schema.limits import Limits
from server.asyncapi import document as asyncapi
from server.openapi import document as openapi
from server.routes import ROUTES
from tests.test_architecture import FILES

# Names that said something else than what they did, or nothing.
NAMES = frozenset(
    {
        "told", "tell", "taken", "take", "taken_at", "parted", "murmur", "passing", "whisper", "whispered", "hear",
        "heard", "doubt", "doubted", "doubtful", "doubts", "doubting", "crowded", "deafen", "inlet", "goodbye", "met",
        "gate", "gather", "pace", "chatter", "coming", "brief", "briefs", "phone", "lockscreen", "starting", "flying",
        "near", "away", "hold", "bury", "entomb", "doom", "door", "shut", "circuit", "spoken", "lasts", "patience",
        "longest", "again", "ahead", "but",
    }
)  # fmt: skip
# What a library, a protocol or a stored value prescribes, or what is the plain word there; each with its reason.
ALLOWED: dict[str, set[str]] = {}
# In what users, operators and developers read.
PHRASES = [
    r"\bmay have [0-9{]", r"\bmay name [0-9{]", r"(?<!there )\bis no [a-z]", r"(?<!there )\bare no [a-z]", r"\bnought\b",
    r"\bwho doubts\b", r"\boneself\b", r"\bwhom one\b", r"\bone's\b", r"\bgiven up\b",
    r"\bgave back\b", r"\bgiven back\b", r"\bis told\b", r"\bwas told\b", r"\bnot taken\b",
    r"\bcome back in a moment\b", r"\bis away\b", r"\bfor ever\b", r"\banew\b", r"\bsomebody\b",
    r"\bnobody\b(?!\")", r"\bwas used for another\b", r"\bkept elsewhere\b", r"\bnot enough credits\b", r"\bToo much waits\b",
    r"\blets nothing in\b",
]  # fmt: skip


def names_of(tree: ast.AST) -> Iterator[str]:
    """Of what a module defines: classes, functions, arguments, attributes, constants."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.arg(arg=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Name(id=name, ctx=ast.Store()):
                yield name


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_name_is_of_the_old_vocabulary(path: Path) -> None:
    found = {name.strip("_").lower() for name in names_of(ast.parse(path.read_text()))}
    assert found & NAMES <= ALLOWED.get(str(path), set())


@functools.cache
def texts() -> dict[str, str]:
    """Where a text stands, and the text."""
    found = {f"static/js/texts/{path.name}": path.read_text() for path in Path("static/js/texts").glob("*.js")}
    found["OpenAPI"] = json.dumps(openapi(ROUTES, Limits(), ""))
    found["AsyncAPI"] = json.dumps(asyncapi(Limits(), ""))
    for path in (*Path("docs").glob("*.md"), Path("README.md"), Path("CHANGELOG.md")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found[f"{path}:{number}"] = line
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                for number, text in enumerate(strings(node.exc)):
                    found[f"{path}:{node.lineno} {number}"] = text
    return found


def strings(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{" for part in each.values)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_text_has_the_phrase(phrase: str) -> None:
    pattern = re.compile(phrase, re.IGNORECASE)
    assert [where for where, text in texts().items() if pattern.search(text)] == []


def test_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}

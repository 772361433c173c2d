"""The import rule, and who owns which library."""

import ast
from pathlib import Path

import pytest

ROOMS = ["run", "server", "realtime", "push", "storage"]
OWNERS = {
    "aiohttp": {
        "server/",
        "realtime/transport.py",
        "realtime/websocket.py",
        "push/webhooks.py",
        "realtime/engine.py",
        "realtime/polling.py",
        "realtime/key_set.py",
    },
    "socketio": {"realtime/"},
    "engineio": {"realtime/transport.py", "realtime/engine.py", "realtime/polling.py"},
    "redis": {"realtime/link_redis.py", "realtime/servers_redis.py"},
    "aioapns": {"push/apns.py"},
    "sqlite3": {"storage/"},
    "jwt": {
        "realtime/signing.py",
        "realtime/tokens.py",
        "realtime/key_set.py",
        "server/operator.py",
        "push/provider.py",
    },
    "h2": {"push/apns.py"},
    "hpack": {"push/apns.py"},
    "argon2": {"realtime/passwords.py"},
    "prometheus_client": {"server/metrics.py"},
    "PIL": {"realtime/inspection.py"},
    "av": {"realtime/inspection.py"},
    "puremagic": {"realtime/inspection.py"},
    "obstore": {"storage/files.py"},
    "liquid": {"realtime/templates.py"},
    "humanize": {"server/dialects/template.py"},
    "pydantic_settings": {"server/settings.py"},
    "dotenv": {"server/settings.py"},
}
FILES = sorted(Path().glob("*.py")) + sorted(
    path for room in ROOMS for path in Path(room).rglob("*.py") if "versions" not in path.parts
)


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_only_to_the_right(path: Path) -> None:
    room = path.parts[0].removesuffix(".py")
    left = ROOMS[: ROOMS.index(room)]
    assert not {name for name in imports(path) if name.split(".")[0] in left}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_each_library_stays_with_its_owner(path: Path) -> None:
    for name in imports(path):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or any(str(path).startswith(owner) for owner in owners), name


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_environment_is_read_in_the_settings_alone(path: Path) -> None:
    assert "os.environ" not in path.read_text() or str(path) == "server/settings.py"


def test_sqlalchemy_stays_in_storage_but_for_the_connection_of_a_read() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
                names = {alias.name for alias in node.names}
                assert path.parts[0] == "storage" or names == {"Connection"}, path


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500

"""The import rule, and who owns which library."""

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest

LAYERS = ["run", "server", "realtime", "push", "storage"]
# Inside realtime/, from the use cases down: a package imports only packages of a higher number.
PACKAGES = {"": 0, "fanout": 1, "cluster": 2, "transport": 2, "schema": 3, "support": 4}
OWNERS = {
    "aiohttp": {
        "server/",
        "realtime/transport/socket.py",
        "realtime/transport/websocket.py",
        "push/webhooks.py",
        "realtime/transport/engine.py",
        "realtime/transport/polling.py",
        "realtime/transport/protocol.py",
        "realtime/key_set.py",
    },
    "socketio": {"realtime/transport/protocol.py"},
    "engineio": {"realtime/transport/socket.py", "realtime/transport/engine.py", "realtime/transport/polling.py"},
    "redis": {"realtime/cluster/link_redis.py", "realtime/cluster/servers_redis.py"},
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
    path for layer in LAYERS for path in Path(layer).rglob("*.py") if "versions" not in path.parts
)


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_only_to_the_right(path: Path) -> None:
    layer = path.parts[0].removesuffix(".py")
    left = LAYERS[: LAYERS.index(layer)]
    assert not {name for name in imports(path) if name.split(".")[0] in left}


def package_of(parts: Sequence[str]) -> str:
    """The package of realtime/ that a module is in, by the parts of its name."""
    return parts[1] if len(parts) > 2 else ""


@pytest.mark.parametrize("path", sorted(Path("realtime").rglob("*.py")), ids=str)
def test_the_packages_of_realtime_import_only_those_below(path: Path) -> None:
    own = package_of(path.parts)
    assert own in PACKAGES, "every package has its place"
    modules = {name for name in imports(path) if (Path(*name.split(".")).with_suffix(".py")).exists()}
    used = {package_of(name.split(".")) for name in modules if name.startswith("realtime.")} - {own}
    assert not {each for each in used if PACKAGES[each] <= PACKAGES[own]}


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

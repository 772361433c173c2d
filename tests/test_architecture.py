"""The import rule, and who owns which library."""

import ast
import re
from collections.abc import Sequence
from fnmatch import fnmatch
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
        "push/post.py",
        "push/doubles/",
        "realtime/transport/engine.py",
        "realtime/transport/polling.py",
        "realtime/transport/protocol.py",
        "realtime/key_set.py",
    },
    "socketio": {"realtime/transport/protocol.py"},
    "engineio": {"realtime/transport/socket.py", "realtime/transport/engine.py", "realtime/transport/polling.py"},
    "redis": {"realtime/cluster/link_redis.py", "realtime/cluster/servers_redis.py"},
    "aioapns": {"push/apns_connection.py"},
    "sqlite3": {"storage/"},
    "jwt": {
        "realtime/signing.py",
        "realtime/tokens.py",
        "realtime/key_set.py",
        "server/operator.py",
        "push/signed.py",
        "push/doubles/",
    },
    "h2": {"push/apns_connection.py", "push/doubles/"},
    "hpack": {"push/apns"},
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


# Modules without a test file of their own name, and why.
WITHOUT_OWN_TEST = {
    # Declarations: there is nothing to call.
    "server/services.py": "attributes alone",
    "server/reference_tables.py": "tests/server/test_reference.py",
    "server/socket_reference.py": "tests/server/test_reference.py",
    "server/route.py": "mypy checks every line of the table",
    "server/dialects/reading.py": "a tuple: tests/server/test_dialects.py",
    "push/reach.py": "an interface: tests/journeys/test_push.py",
    "realtime/fanout/subscription.py": "attributes alone: tests/realtime/fanout/test_hub.py",
    "realtime/transport/interfaces.py": "interfaces alone",
    "realtime/chat_requirements.py": "tests/server/test_chats.py, test_invites.py and test_authorization.py",
    "realtime/schema/message_shapes.py": "types alone: tests/server/test_openapi.py holds every answer to them",
    "realtime/schema/message_documents.py": "tests/server/test_messages.py and test_threads.py",
    "realtime/schema/shapes.py": "types alone: tests/server/test_openapi.py holds every answer to them",
    "realtime/schema/events.py": "types alone: tests/server/test_asyncapi.py holds every event to them",
    "realtime/schema/message_bodies.py": "fields alone: tests/server/test_messages.py and tests/server/test_bad_input.py",
    "realtime/schema/bodies.py": "fields alone: tests/realtime/schema/test_fields.py and tests/server/test_bad_input.py",
    "realtime/schema/limits.py": "numbers alone: each is reached in a test of what it limits",
    "realtime/schema/statuses.py": "a table: tests/storage/test_errors.py",
    "storage/models/*": "tables alone: tests/storage/test_migrations.py compares them with the migrations",
    "storage/migrations/*": "tests/storage/test_migrations.py",
    # One suite for every implementation.
    "realtime/cluster/broker_*": "tests/contracts/test_broker.py",
    "realtime/cluster/presence_*": "tests/contracts/test_presence.py",
    "realtime/cluster/rates_redis.py": "tests/contracts/test_rates.py",
    "realtime/cluster/*_redis.py": "tests/contracts/test_broker.py",
    "realtime/cluster/hints.py": "tests/contracts/test_broker.py",
    "storage/reader.py": "tests/storage/test_log.py, on both databases",
    "storage/writer.py": "tests/storage/test_transaction.py, on both databases",
    "storage/database.py": "tests/storage/test_transaction.py, on both databases",
    "push/doubles/apple_device.py": "a model for tests: tests/journeys/test_live_everywhere.py",
    "push/doubles/apple_channels.py": "a part of the double: tests/push/test_apns_channels.py",
    "push/doubles/apple_connection.py": "a part of the double: tests/push/test_apns.py",
    "realtime/due.py": "tests/server/test_reactions.py",
    "realtime/reaction_events.py": "tests/server/test_reactions.py",
    "storage/blocks.py": "tests/server/test_accounts.py and tests/server/test_streams.py",
    "storage/due.py": "tests/server/test_reactions.py",
    "realtime/replies.py": "tests/server/test_threads.py",
    "realtime/message_change.py": "tests/server/test_messages.py",
    "realtime/tombstones.py": "tests/server/test_messages.py and tests/realtime/test_one_batch.py",
    "realtime/listed_words.py": "tests/realtime/test_speaking.py",
    "realtime/reporting.py": "tests/server/test_reports.py and test_word_lists.py",
    "*purges.py": "tests/journeys/test_moderation.py",
    "storage/last_posts.py": "tests/journeys/test_moderation.py",
    "realtime/indexing.py": "tests/server/test_search.py and tests/storage/test_search_index.py",
    "storage/search_index_*.py": "tests/storage/test_search_index.py",
    "storage/thread_list.py": "tests/server/test_threads.py",
    "storage/push_channel_apps.py": "tests/push/test_push_channels.py",
    "storage/stamps.py": "tests/journeys/test_live_activities.py and tests/journeys/test_live_everywhere.py",
    # The whole application at work.
    "server/app.py": "every test of tests/server",
    "server/background.py": "tests/realtime/test_streams.py and tests/server/test_erasure.py",
    "server/call.py": "every test of tests/server",
    "server/cluster.py": "tests/journeys/test_two_nodes.py",
    "server/endpoint.py": "tests/server/test_authorization.py and test_bad_input.py",
    "server/middleware.py": "tests/server/test_headers.py, test_bad_input.py and test_rates.py",
    "server/routes.py": "tests/server/test_authorization.py calls every route",
    "server/operator.py": "tests/journeys/test_command_line.py",
    "server/form.py": "tests/server/test_media.py",
    "server/conditions.py": "tests/server/test_media.py",
    "server/secret_file.py": "tests/server/test_signing.py",
    "server/packed.py": "tests/server/test_descriptions.py",
    "server/pages.py": "tests/browser",
    "server/dialects/*": "tests/server/test_seed_*.py and test_dialects.py",
    "realtime/namespace.py": "tests/realtime/transport/test_protocol.py",
    "realtime/transport/context.py": "tests/server/test_logs.py",
    "realtime/fanout/reach.py": "tests/journeys/test_push.py and test_two_nodes.py",
    "realtime/fanout/budget.py": "tests/server/test_rates.py",
    "realtime/tokens.py": "tests/server/test_signing.py and test_accounts.py",
    "realtime/passwords.py": "tests/server/test_accounts.py",
    "realtime/inspection.py": "tests/realtime/test_decoding.py",
    "realtime/sandbox.py": "tests/realtime/test_decoding.py",
    "realtime/blocks.py": "tests/server/test_accounts.py and tests/storage/test_contexts.py",
    "realtime/fanout/topics.py": "tests/realtime/fanout/test_hub.py and tests/realtime/test_presence_watch.py",
    "*/sanctions.py": "tests/realtime/test_stream_watch.py and tests/server/test_room_authorization.py",
    "storage/access.py": "tests/storage/test_chat.py and tests/server/test_room_authorization.py",
    "realtime/devices.py": "tests/journeys/test_push.py",
    "server/devices.py": "tests/journeys/test_push.py",
    "storage/devices.py": "tests/journeys/test_push.py",
    "storage/deliveries.py": "tests/journeys/test_push.py",
    "storage/audience.py": "tests/push/test_targets.py",
    "storage/expansion.py": "tests/push/test_worker.py",
    "*/activities.py": "tests/realtime/test_streams.py and tests/journeys/test_live_activities.py",
    "storage/email.py": "tests/storage/test_text.py",
    "push/provider.py": "tests/push/test_apns.py",
    "push/signed.py": "tests/push/test_apns.py",
    "push/apns_connection.py": "tests/push/test_apns.py",
    "push/settler.py": "tests/push/test_worker.py",
    "push/webhook_sender.py": "tests/server/test_webhooks.py",
    "push/post.py": "tests/server/test_webhooks.py",
    "push/sender.py": "tests/push/test_worker.py",
    "push/doubles/https_double.py": "tests/push/test_fcm.py and test_webpush.py",
    "server/push_setup.py": "tests/journeys/test_push_everywhere.py",
    "push/expander.py": "tests/push/test_worker.py",
    "push/decide.py": "tests/push/test_worker.py",
    "realtime/schema/caller.py": "tests/server/test_authorization.py",
    "realtime/schema/revocation.py": "tests/server/test_accounts.py",
    "server/shutdown.py": "tests/realtime/transport/test_socket.py and tests/faults/test_nodes.py",
    "server/data_lock.py": "tests/journeys/test_command_line.py",
    "server/readiness.py": "tests/storage/test_executor_postgres.py and tests/server/test_openapi.py",
    "realtime/schema/documents.py": "tests/server/test_openapi.py",
    "realtime/schema/envelope.py": "tests/server/test_dialects.py",
    "storage/statements*.py": "tests/storage/test_transaction.py and tests/storage/test_prepared.py",
    "storage/executor_*.py": "tests/storage/test_transaction.py and tests/storage/test_log.py",
    "*/chat_list.py": "tests/storage/test_chat.py and tests/server/test_chats.py",
    "storage/tasks.py": "what it spawns is awaited in every test of tests/server",
}


def test_every_module_has_a_test_of_its_name_or_a_reason() -> None:
    named = {path.name for path in Path("tests").rglob("test_*.py")}
    without = {
        str(path)
        for path in FILES
        if path.name not in ("__init__.py", "run.py") and f"test_{path.stem}.py" not in named
    }
    listed = {path for path in without if any(fnmatch(path, pattern) for pattern in WITHOUT_OWN_TEST)}
    assert without - listed == set()
    unused = {pattern for pattern in WITHOUT_OWN_TEST if not any(fnmatch(path, pattern) for path in without)}
    assert unused == set(), "it has a test by now"


def test_the_tests_that_are_named_exist() -> None:
    folder = Path()
    for reason in WITHOUT_OWN_TEST.values():
        for name in re.findall(r"(?:tests/\S+/)?test_\w+\*?\.py|tests/\w+", reason):
            folder = Path(name).parent if "/" in name and name.endswith(".py") else folder
            path = name if "/" in name else f"{folder}/{name}"
            assert list(Path().glob(path)), path

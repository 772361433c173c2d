"""What we rely on inside of libraries, by name: a release that changes it fails here, with the file to mend.

``pyproject.toml`` bounds these libraries from above. A line is ``(file, owner, name, parameters)``: the attribute of a class
or module that the file uses and, of a function that it overrides or calls, the names of its parameters.
"""

import asyncio.selector_events
import inspect
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import aioapns.connection
import aiohttp._websocket.reader
import aiohttp.http
import aiohttp.web_protocol
import aiosqlite
import engineio
import engineio.async_socket
import h2.connection
import hpack
import limits.aio.storage
import psycopg.errors
import psycopg.pq
import pytest
import redis.asyncio.connection
import socketio


class Seam(NamedTuple):
    file: str
    owner: Any
    name: str
    parameters: tuple[str, ...] | None = None


LISTENING, WEBSOCKET = "server/listening.py", "realtime/transport/websocket.py"
ENGINE, SOCKET, PROTOCOL = (
    "realtime/transport/engine.py",
    "realtime/transport/socket.py",
    "realtime/transport/protocol.py",
)
LINK, RATES, APNS, READER, PIPELINE = (
    "realtime/cluster/link_redis.py",
    "realtime/cluster/rates_redis.py",
    "push/apns.py",
    "storage/reader.py",
    "storage/pipeline.py",
)
HANDLER = aiohttp.web_protocol.RequestHandler
QUEUE = aiohttp._websocket.reader.WebSocketDataQueue
EIO, EIO_SOCKET = engineio.AsyncServer, engineio.async_socket.AsyncSocket
SIO = socketio.AsyncServer
REDIS = redis.asyncio.connection.AbstractConnection
PROTOCOL_OF_APNS = aioapns.connection.APNsTLSClientProtocol
H2 = h2.connection.H2Connection

SEAMS: dict[str, list[Seam]] = {
    "aiohttp": [
        *(Seam(LISTENING, HANDLER, name) for name in ("_messages", "_request_count", "_current_request", "transport")),
        Seam(LISTENING, HANDLER, "connection_lost"),
        Seam(LISTENING, HANDLER, "data_received"),
        Seam(LISTENING, aiohttp.http, "RawRequestMessage"),
        Seam(WEBSOCKET, HANDLER, "_message_tail"),
        Seam(WEBSOCKET, HANDLER, "_buffer_paused"),
        Seam(WEBSOCKET, QUEUE, "feed_data"),
        Seam(WEBSOCKET, QUEUE, "set_exception"),
        Seam(WEBSOCKET, aiohttp.http.WebSocketReader, "feed_data"),
    ],
    "python-engineio": [
        Seam(ENGINE, EIO, "handle_request"),
        Seam(ENGINE, EIO, "generate_id"),
        Seam(ENGINE, EIO, "_handle_connect", ("self", "environ", "transport", "jsonp_index")),
        Seam(ENGINE, EIO, "_bad_request", ("self", "message")),
        Seam(ENGINE, EIO, "_cors_allowed_origins", ("self", "environ")),
        Seam(ENGINE, EIO, "_cors_headers", ("self", "environ")),
        Seam(ENGINE, EIO, "_log_error_once", ("self", "message", "message_key")),
        Seam(ENGINE, EIO, "_ok", ("self", "packets", "headers", "jsonp_index")),
        Seam(ENGINE, EIO, "_upgrades", ("self", "sid", "transport")),
        Seam(ENGINE, EIO, "_make_response", ("self", "response_dict", "environ")),
        Seam(SOCKET, EIO_SOCKET, "send", ("self", "pkt")),
        Seam(SOCKET, EIO_SOCKET, "close", ("self", "wait", "abort", "reason")),
        Seam(SOCKET, EIO_SOCKET, "handle_get_request", ("self", "environ")),
        Seam(SOCKET, EIO_SOCKET, "handle_post_request", ("self", "environ")),
    ],
    "python-socketio": [
        Seam(PROTOCOL, SIO, "_engineio_server_class", ("self",)),
    ],
    "redis": [
        Seam(LINK, REDIS, "_writer"),
        Seam(LINK, REDIS, "_reader"),
        Seam(LINK, REDIS, "connect", ("self",)),
        Seam(LINK, redis.asyncio.connection, "parse_url"),
    ],
    "limits": [Seam(RATES, limits.aio.storage, "Storage"), Seam(RATES, limits.aio.storage.MemoryStorage, "reset")],
    "psycopg": [
        Seam(PIPELINE, psycopg.errors, "error_from_result", ("result", "encoding")),
        *(
            Seam(PIPELINE, psycopg.pq.PGconn, name)
            for name in (
                "enter_pipeline_mode",
                "exit_pipeline_mode",
                "pipeline_sync",
                "send_prepare",
                "send_query_params",
                "send_query_prepared",
                "flush",
                "is_busy",
                "consume_input",
                "get_result",
                "finish",
                "socket",
                "status",
            )
        ),
    ],
    "aiosqlite": [
        Seam(READER, aiosqlite.Connection, "_execute", ("self", "fn", "args", "kwargs")),
        Seam(READER, aiosqlite.Connection, "_conn"),
    ],
    "aioapns": [
        *(
            Seam(APNS, PROTOCOL_OF_APNS, name)
            for name in ("flush", "connection_made", "connection_lost", "data_received")
        ),
        Seam(APNS, PROTOCOL_OF_APNS, "refresh_inactivity_timer", ("self",)),
        Seam(APNS, PROTOCOL_OF_APNS, "__init__", ("self", "apns_topic", "loop", "on_connection_lost", "auth_provider")),
    ],
    "h2": [
        *(Seam(APNS, H2, name) for name in ("send_headers", "send_data", "reset_stream", "receive_data")),
        Seam(APNS, H2, "get_next_available_stream_id"),
    ],
    "hpack": [Seam(APNS, hpack.Encoder, "encode", ("self", "headers", "huffman"))],
}
# What no class shows, such as an attribute set in a constructor: the words that the source must have.
SOURCES = [
    (PIPELINE, psycopg.AsyncConnection.wait, "self.pgconn"),
    (WEBSOCKET, asyncio.selector_events._SelectorSocketTransport, "_read_ready_cb"),  # type: ignore[attr-defined]
    (APNS, aioapns.connection.H2Protocol, "self.conn ="),
    (APNS, aioapns.connection.H2Protocol, "self.transport"),
    (APNS, h2.connection.H2Connection, "self.outbound_flow_control_window ="),
    (APNS, h2.connection.H2Connection, "self.encoder ="),
    *(
        (SOCKET, engineio.AsyncServer.handle_request, words)
        for words in ("socket.connected", "socket.upgraded", ".closed", "socket.handle_get_request")
    ),
    (ENGINE, engineio.AsyncServer.handle_request, "self.sockets"),
    (PROTOCOL, socketio.AsyncServer.__mro__[1], "self.eio ="),
    (PROTOCOL, socketio.AsyncServer.__mro__[1], "**engineio_options"),
]


@pytest.mark.parametrize("library", SEAMS)
def test_what_is_relied_on_is_there(library: str) -> None:
    broken = [
        f"{seam.file}: {library} has no {seam.name}" for seam in SEAMS[library] if not hasattr(seam.owner, seam.name)
    ]
    for seam in SEAMS[library]:
        if seam.parameters is not None and hasattr(seam.owner, seam.name):
            found = tuple(inspect.signature(getattr(seam.owner, seam.name)).parameters)
            if found != seam.parameters:
                broken.append(f"{seam.file}: {library}'s {seam.name} takes {found}, not {seam.parameters}")
    assert broken == []


@pytest.mark.parametrize(("file", "owner", "words"), SOURCES, ids=lambda each: getattr(each, "__name__", str(each)))
def test_the_source_has_the_words(file: str, owner: Any, words: str) -> None:
    assert words in inspect.getsource(owner), f"{file}: {owner.__name__} has no {words}"


@pytest.mark.parametrize("library", SEAMS)
def test_such_a_library_has_an_upper_bound(library: str) -> None:
    wanted = tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]
    (line,) = [each for each in wanted if each.split("[")[0].split(">")[0].split("=")[0].strip() == library]
    assert "<" in line, f"pyproject.toml: {line}"

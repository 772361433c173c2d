"""The life of an Engine.IO session: its states, and one table of how it ends."""

from enum import Enum, IntEnum


class SocketState(IntEnum):
    """In the order of a session's life; an upgrade that fails leads back to POLLING."""

    # The open packet has not been sent.
    OPENING = 0
    POLLING = 1
    # A websocket was probed: polls are answered with NOOP until it takes over.
    UPGRADING = 2
    WEBSOCKET = 3
    # Nothing is read or written any more; what was written waits for the last poll.
    CLOSING = 4
    CLOSED = 5


class Ending(Enum):
    """``code`` is the websocket's close code (RFC 6455, section 7.4); 1006 stands for none: the connection is dropped.

    ``reason`` goes into the log. ``reconnects`` says whether official clients reconnect by themselves: they do, unless they
    closed the connection themselves or got a DISCONNECT.
    """

    CLIENT_CLOSED = (1000, "closed by the client", False)
    # After ``session:closed`` and DISCONNECT.
    SESSION_CLOSED = (1000, "session closed", False)
    # A new history, or a membership change that could not be followed: the client must connect again and resume.
    RESUME = (1001, "the client must resume", True)
    # A polling request was not valid, or took too long to arrive.
    REFUSED = (1001, "request refused", True)
    PROTOCOL_ERROR = (1002, "not a valid WebSocket frame", True)
    BINARY = (1003, "binary message", True)
    NOT_UTF8 = (1007, "text that is not UTF-8", True)
    UNEXPECTED_PACKET = (1008, "a packet that is not valid here", True)
    TOO_LARGE = (1009, "message too large", True)
    INTERNAL_ERROR = (1011, "internal error", True)
    SHUTDOWN = (1012, "server shutdown", True)
    OVERLOAD = (1013, "overload", True)
    LOST = (1006, "connection lost", True)
    SLOW_READER = (1006, "slow reader", True)
    PING_TIMEOUT = (1006, "ping timeout", True)
    POLL_TIMEOUT = (1006, "poll timeout", True)
    CONNECT_TIMEOUT = (1006, "no CONNECT in time", True)
    HANDSHAKE_FAILED = (1006, "handshake failed", True)

    def __init__(self, code: int, reason: str, reconnects: bool) -> None:
        self.code = code
        self.reason = reason
        self.reconnects = reconnects


# What aiohttp's reader finds wrong, by the close code that it gives.
FRAME_ERRORS = {each.code: each for each in (Ending.PROTOCOL_ERROR, Ending.NOT_UTF8, Ending.TOO_LARGE)}

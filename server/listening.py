"""The socket that connections come to: many may wait in it, and few are taken at once, so that the rest of us goes on."""

import socket

WAITING = 1024
TAKEN_AT_ONCE = 16


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError where the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=WAITING)

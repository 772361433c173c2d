"""A TCP proxy that puts a distance between two programs: ``python -m tests.load.distance TARGET MILLISECONDS``.

Half of the time goes by on each way. It prints its port. ``TARGET`` is the path of a Unix socket.

A thread for each direction sleeps until an absolute time: Python's ``time.sleep`` uses clock_nanosleep(2), where an event
loop knows whole milliseconds only.
"""

import contextlib
import queue
import socket
import sys
import threading
import time

CHUNK_BYTES = 1 << 18


def carry(source: socket.socket, target: socket.socket, seconds: float) -> None:
    """What comes from ``source`` arrives at ``target`` so much later."""
    on_the_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def deliver() -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = on_the_way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    return target.shutdown(socket.SHUT_WR)
                target.sendall(data)

    threading.Thread(target=deliver, daemon=True).start()
    data = b"-"
    while data:
        try:
            data = source.recv(CHUNK_BYTES)
        except OSError:
            data = b""
        on_the_way.put((time.monotonic() + seconds, data))


def main() -> None:
    place, milliseconds = sys.argv[1], float(sys.argv[2])
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    while True:
        client, _ = listening.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.socket(socket.AF_UNIX)
        server.connect(place)
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=carry, args=(source, target, milliseconds / 2000), daemon=True).start()


if __name__ == "__main__":
    main()

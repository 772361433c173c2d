"""What Apple's service may do wrong, on a server of its own: nothing is left undelivered, shown twice, or sent to the dead.

``python -m tests.faults.pushes --messages 200``; between the faults the server is killed in the middle of its pushes.
"""

import argparse
import asyncio
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from push.doubles.apns import Apple
from tests.faults.test_push_faults import FAULTS
from tests.support.process import ProcessUser, ServerProcess
from tests.support.pushing import phone

PHONES = 10
# The fault itself says that these get none.
EXCUSED = ("400", "413", "410 newer")
NO_ANSWER = ("403", "nobody listens")


async def waiting(api: ProcessUser) -> int:
    text = (await api.get("/metrics")).body.decode()
    found = re.findall(r"^bellwire_(?:outbox_causes|outbox_deliveries|push_in_flight) (\S+)$", text, re.MULTILINE)
    return int(sum(map(float, found)))


async def quiet(api: ProcessUser, seconds: float) -> bool:
    """Whether nothing waits any more, twice in a row, for it is measured now and then."""
    still = 0
    for _ in range(int(seconds / 0.5)):
        still = still + 1 if await waiting(api) == 0 else 0
        if still > 12:
            return True
        await asyncio.sleep(0.5)
    return False


async def run(*, messages: int, faults: list[str] | None = None) -> dict[str, Any]:
    # The faults remember the tokens that they have struck.
    run_id = secrets.token_hex(4)
    told = {"faults": 0, "pushes": 0, "undelivered": 0, "shown_twice": 0, "sent_to_dead": 0, "stuck": 0, "kills": 0}
    with tempfile.TemporaryDirectory(prefix="bellwire-pushes-") as folder:
        async with Apple(delay=0.01) as apple, aiohttp.ClientSession() as session:
            server = ServerProcess(Path(folder) / "data", **apple.write_files(Path(folder) / "apple"))
            async with server:
                ann = await server.user(session, "ann@example.org", "--permission=admin")
                for number, name in enumerate(faults or FAULTS):
                    bobs = await ann.others(PHONES)
                    chats = []
                    for place, bob in enumerate(bobs):
                        await phone(bob, f"{run_id}-{number}-{place}")
                        body = {"type": "group", "name": "x", "memberIds": [bob.id]}
                        chats.append((await ann.post("/api/v2/chats", body)).json["_id"])
                    apple.plan = FAULTS[name]
                    if name == "nobody listens":
                        await apple.stop()
                    wanted = set()
                    for each in range(messages):
                        body = {"type": "text", "chatId": chats[each % PHONES], "content": f"message {each}"}
                        sent = (await ann.post("/api/v2/messages", body)).json["_id"]
                        wanted.add((f"{run_id}-{number}-{each % PHONES}", sent))
                    await server.kill()
                    told["kills"] += 1
                    await server.start()
                    await asyncio.sleep(1)
                    if not name.startswith(EXCUSED):
                        apple.plan = lambda push: None
                    if name == "nobody listens":
                        await apple.start(apple.port)
                    told["stuck"] += not await quiet(ann, 180)
                    good = {(push.token, push.payload["messageId"]) for push in apple.good}
                    told["faults"] += 1
                    told["pushes"] += len(wanted)
                    if not name.startswith(EXCUSED):
                        told["undelivered"] += len(wanted - good)
                    if name.startswith("410 newer"):
                        dead = {push.token for push in apple.pushes if push.status == 410}
                        alive = {pair for pair in wanted if pair[0] not in dead}
                        told["undelivered"] += len(alive - good)
                        before = len(apple.after_dead)
                        for chat in chats:
                            await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "later"})
                        told["stuck"] += not await quiet(ann, 60)
                        told["sent_to_dead"] += len(apple.after_dead) - before
                ids: dict[Any, set[Any]] = {}
                for push in apple.good:
                    ids.setdefault((push.token, push.payload["messageId"]), set()).add(push.collapse_id)
                told["shown_twice"] = sum(len(each) > 1 for each in ids.values())
                told["tracebacks"] = server.log.read_text().count("Traceback")
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200, help="under each fault")
    for name, figure in asyncio.run(run(**vars(parser.parse_args()))).items():
        print(f"{name:16}{figure}")

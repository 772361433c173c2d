"""Sends messages into a chat over one plain websocket, each when the last was acknowledged: the protocol in 30 lines.

python examples/send.py http://127.0.0.1:8080 TOKEN CHAT 1000
"""

import asyncio
import json
import sys
import time

import aiohttp


async def main(url: str, token: str, chat: str, messages: str = "100") -> None:
    began, acked = time.perf_counter(), 0
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket") as ws,
    ):
        async for frame in ws:
            packet = frame.data
            if packet.startswith("0"):  # open: connect to the namespace
                await ws.send_str("40/chat," + json.dumps({"token": token, "v": 1}))
            elif packet == "2":  # ping
                await ws.send_str("3")
            elif packet.startswith("44"):
                raise SystemExit(packet)
            elif packet.startswith("43/chat,"):  # the ack of the last message
                assert json.loads(packet[packet.index("[") :])[0]["isSuccess"], packet
                acked += 1
            if packet.startswith("43") or 'session:ready"' in packet[:40]:
                if acked == int(messages):
                    break
                body = {"type": "text", "chatId": chat, "content": f"message {acked}"}
                await ws.send_str(f"42/chat,{acked}" + json.dumps(["message:send", body]))
    print(f"{acked} messages, {acked / (time.perf_counter() - began):.0f} a second")


asyncio.run(main(*sys.argv[1:]))

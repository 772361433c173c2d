"""A bot that answers in its chats.

python example.py http://127.0.0.1:8080 TOKEN
"""

import asyncio
import sys

from bellwire_client import Client


async def main(url: str, token: str) -> None:
    async with Client(url, token) as client:
        me = (await client.get("/api/v1/users/me"))["id"]
        print("ready", flush=True)
        async for event in client.events():
            if event.name == "message:new" and event.payload["senderId"] != me and event.payload["type"] == "text":
                await client.send(event.payload["chatId"], f"You said: {event.payload['content']}")


asyncio.run(main(*sys.argv[1:]))

"""A bot that says again what others say in its chats.

python examples/echo.py http://127.0.0.1:8080 TOKEN
"""

import asyncio
import sys

from bellwire import Client


async def main(url: str, token: str) -> None:
    async with Client(url, token) as client:
        me = (await client.get("/api/v1/users/me"))["id"]
        print("ready", flush=True)
        async for event in client.events():
            if event.name == "message:new" and event.payload["senderId"] != me and event.payload["type"] == "text":
                await client.send(event.payload["chatId"], f"You said: {event.payload['content']}")


asyncio.run(main(*sys.argv[1:]))

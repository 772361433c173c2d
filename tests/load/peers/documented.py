"""A chat server as the documentation of its libraries shows it: aiohttp, python-socketio, a SQLAlchemy session a message.

Started with a folder. Prints its port.
"""

import asyncio
import datetime
import secrets
import sys
from typing import Any
from urllib.parse import parse_qs

import socketio
from aiohttp import web
from sqlalchemy import String, event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Chat(Base):
    __tablename__ = "chat"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    head: Mapped[int] = mapped_column(default=0)


class Message(Base):
    __tablename__ = "message"
    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    chat: Mapped[str] = mapped_column(String(32), index=True)
    seq: Mapped[int]
    content: Mapped[str]
    at: Mapped[datetime.datetime]


engine = create_async_engine(f"sqlite+aiosqlite:///{sys.argv[1]}/peer.db")
Session = async_sessionmaker(engine, expire_on_commit=False)
sio = socketio.AsyncServer(async_mode="aiohttp")
# SQLite takes one writer; without this half of the sends fail.
writing = asyncio.Lock()


@event.listens_for(engine.sync_engine, "connect")
def durable(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


async def keep(body: dict[str, Any]) -> dict[str, Any]:
    async with writing, Session() as session, session.begin():
        chat = await session.get(Chat, body["chatId"])
        if chat is None:
            chat = Chat(id=body["chatId"], head=0)
            session.add(chat)
        chat.head += 1
        message = Message(
            id=secrets.token_hex(12), chat=chat.id, seq=chat.head, content=body["content"],
            at=datetime.datetime.now(datetime.UTC),
        )  # fmt: skip
        session.add(message)
    document = {**body, "_id": message.id, "seq": message.seq, "createdAt": message.at.isoformat()}
    await sio.emit("message", document, room=body["chatId"])
    return document


@sio.event  # type: ignore[untyped-decorator]
async def connect(sid: str, environ: dict[str, Any]) -> None:
    for chat in parse_qs(environ["QUERY_STRING"]).get("chat", []):
        await sio.enter_room(sid, chat)


@sio.event  # type: ignore[untyped-decorator]
async def state(sid: str, body: dict[str, Any]) -> dict[str, Any]:
    return body


@sio.event  # type: ignore[untyped-decorator]
async def publish(sid: str, body: dict[str, Any]) -> None:
    await sio.emit("message", body, room=body["chatId"])


@sio.event  # type: ignore[untyped-decorator]
async def send(sid: str, body: dict[str, Any]) -> dict[str, Any]:
    return await keep(body)


async def post(request: web.Request) -> web.Response:
    return web.json_response(await keep(await request.json()), status=201)


async def main() -> None:
    app = web.Application()
    app.router.add_post("/messages", post)
    sio.attach(app)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())

"""A connection to PostgreSQL beside the server's own."""

from typing import Any

import psycopg


async def connect(url: str) -> psycopg.AsyncConnection[Any]:
    """Every statement is committed by itself. ``url`` may name SQLAlchemy's driver."""
    return await psycopg.AsyncConnection.connect(url.replace("+psycopg", ""), autocommit=True)

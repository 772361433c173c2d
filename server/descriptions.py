"""What describes the API to programs: OpenAPI and AsyncAPI, each made once, when it is first asked for."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from server import asyncapi, openapi
from server.call import SERVICES
from server.packed import Packed, pack
from server.routes import ROUTES
from server.services import Services


class Description:
    def __init__(self, make: Callable[[Services], Any]) -> None:
        self.make = make
        self.packed: Packed | None = None
        self.making = asyncio.Lock()

    async def serve(self, request: web.Request) -> web.Response:
        async with self.making:
            if self.packed is None:
                # It takes a tenth of a second.
                self.packed = await asyncio.to_thread(self._pack, request.app[SERVICES])
        return self.packed.answer(request, "application/json")

    def _pack(self, services: Services) -> Packed:
        return pack(orjson.dumps(self.make(services)))


def install(app: web.Application) -> None:
    described = {
        "/openapi.json": lambda services: openapi.document(ROUTES, services.limits, services.public_url),
        "/asyncapi.json": lambda services: asyncapi.document(services.limits, services.public_url),
    }
    for path, make in described.items():
        app.router.add_get(path, Description(make).serve)

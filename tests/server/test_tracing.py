"""Traces: a span a request, to a collector's double that speaks OTLP."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.process import ServerProcess

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def test_each_request_is_a_span_of_its_callers_trace(tmp_path: Path) -> None:
    spans: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        told = ExportTraceServiceRequest.FromString(await request.read())
        spans.extend(span for each in told.resource_spans for scope in each.scope_spans for span in scope.spans)
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ServerProcess(tmp_path / "data", otlp_url=url) as server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org")
        parent = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        answer = await ann.request("GET", "/api/v1/users/me", headers=parent)
        await ann.get("/nothing")
        assert await server.stop() == 0
    await runner.cleanup()
    by_name = {span.name: span for span in spans}
    mine = by_name["GET /api/v1/users/me"]
    assert (mine.trace_id.hex(), mine.parent_span_id.hex()) == (TRACE, PARENT)
    told = {each.key: each.value.string_value or each.value.int_value for each in mine.attributes}
    assert told["http.response.status_code"] == 200 and told["http.route"] == "/api/v1/users/me"
    assert told["enduser.id"] == ann.id and told["bellwire.request"] == answer.headers["X-Request-ID"]
    assert by_name["GET unknown"].trace_id.hex() != TRACE
    assert ann.token and ann.token not in str(spans)


async def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError")
    server = ServerProcess(tmp_path / "data", otlp_url="http://127.0.0.1:1")
    server.environment["PYTHONPATH"] = str(tmp_path)
    with pytest.raises(AssertionError, match=r"pip install 'bellwire\[tracing\]'"):
        await server.start()

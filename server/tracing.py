"""Traces by OpenTelemetry, for who installs the extra: a span a request, part of the caller's trace if it brings one.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from aiohttp import web

MISSING = "BELLWIRE_OTLP_URL needs the packages of tracing: pip install 'bellwire[tracing]'"


class Tracing:
    """Spans are sent to ``url`` by OTLP over HTTP. Raises ValueError where the packages are not there."""

    def __init__(self, url: str) -> None:
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise ValueError(MISSING) from None
        self.extract = propagate.extract
        self.server = trace.SpanKind.SERVER
        self.failed = trace.StatusCode.ERROR
        self.provider = TracerProvider(resource=Resource.create({"service.name": "bellwire"}))
        exporter = OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces")
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("bellwire")

    @contextlib.contextmanager
    def request(self, request: web.Request, route: str, id: str) -> Iterator[Any]:
        """The span around a request; ``end`` takes the status."""
        attributes = {
            "http.request.method": request.method,
            "http.route": route,
            "url.scheme": request.scheme,
            "bellwire.request": id,
        }
        context = self.extract(request.headers)
        with self.tracer.start_as_current_span(
            f"{request.method} {route}",
            context=context,
            kind=self.server,
            attributes=attributes,
            # What a handler raises is an answer mostly; its status says whether it is a failure.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def end(self, span: Any, status: int, user: str | None) -> None:
        span.set_attribute("http.response.status_code", status)
        if user:
            span.set_attribute("enduser.id", user)
        if status >= 500:
            span.set_status(self.failed)

    def close(self) -> None:
        """Send what waits."""
        self.provider.shutdown()

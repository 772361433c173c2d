"""Counters for Prometheus, at ``/metrics``."""

from collections.abc import Iterator
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from server.services import Services

REGISTRY = web.AppKey("registry", CollectorRegistry)
REQUESTS = web.AppKey("requests", Counter)


class Live(Collector):
    """What the services count themselves, read when it is asked for."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def collect(self) -> Iterator[Any]:
        services = self.services
        writer, hub, engine = services.database.writer, services.hub, services.socketio.eio
        gauges = {
            "bellwire_sockets": ("Open Engine.IO sessions", len(engine.sockets)),
            "bellwire_sessions": ("Connected users' sessions", services.sessions.count),
            "bellwire_channels": ("Channels with readers on this node", len(hub.channels)),
            "bellwire_writes_waiting": ("Commands that wait for a commit", writer.depth),
        }
        counters = {
            "bellwire_deliveries": ("Durable events written to a socket", hub.delivered),
            "bellwire_repaired": ("Events read from the log because no hint came", hub.repaired),
            "bellwire_channel_resets": ("Gaps that could not be filled", hub.resets),
            "bellwire_slow_readers_cut": ("Sockets cut off because they did not read", engine.cut),
            "bellwire_commits": ("Committed batches", writer.batches),
            "bellwire_commands": ("Committed commands", writer.commands),
            "bellwire_resumed": ("Sessions that resumed from offsets", services.sessions.resumed),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(name, text, value=value)


def install(app: web.Application, services: Services) -> None:
    registry = app[REGISTRY] = CollectorRegistry()
    registry.register(Live(services))
    app[REQUESTS] = Counter(
        "bellwire_http_requests", "Answered requests", ["method", "route", "status"], registry=registry
    )


def count_request(request: web.Request, status: int) -> None:
    """The route's pattern is counted, never the path: that would hold ids."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "unknown"
    request.app[REQUESTS].labels(request.method, route, status).inc()


async def show(request: web.Request) -> web.Response:
    return web.Response(
        body=generate_latest(request.app[REGISTRY]), headers={"Content-Type": "text/plain; version=0.0.4"}
    )

"""Counters for Prometheus, at ``/metrics``."""

import asyncio
import resource
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Summary, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from push.push_channels import PushChannels
from push.worker import Worker
from realtime.cluster.broker_redis import RedisBroker
from realtime.due import DueWork
from server.call import SERVICES, token_of
from server.services import Services
from storage.errors import Unauthenticated
from storage.latencies import BOUNDS_MS, LatencyHistogram
from storage.push_channels import STATES

REGISTRY = web.AppKey("registry", CollectorRegistry)
REQUESTS = web.AppKey("requests", Counter)
SECONDS = web.AppKey("seconds", Summary)
disable_created_metrics()  # type: ignore[no-untyped-call]


class Live(Collector):
    """What the services count themselves, read when it is asked for."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def collect(self) -> Iterator[Any]:
        services = self.services
        writer, hub, engine = services.database.writer, services.hub, services.socketio.eio
        waiting = [each.buffered for each in engine.sockets.values()]
        gauges: dict[str, tuple[str, float]] = {
            "bellwire_sockets": ("Open Engine.IO sessions", len(engine.sockets)),
            "bellwire_sessions": ("Socket.IO sessions", services.sessions.count),
            "bellwire_channels": ("Channels with subscribers on this node", len(hub.channels)),
            "bellwire_viewers": ("Users that watch open streams on this node", services.viewers.here),
            "bellwire_newcomers_waiting": ("Connections that wait to be let in", len(engine.admission.waiting)),
            "bellwire_outbound_bytes": ("Unsent bytes of all sockets", sum(waiting)),
            "bellwire_outbound_most_bytes": ("Unsent bytes of the slowest socket", max(waiting, default=0)),
            "bellwire_tasks": ("asyncio tasks", len(asyncio.all_tasks())),
            "bellwire_writes_waiting": ("Commands waiting in the write queue", writer.depth),
        }
        counters = {
            "bellwire_deliveries": ("Durable events written to sockets", hub.delivered),
            "bellwire_repaired": ("Events read from the log because a hint was missing", hub.repaired),
            "bellwire_channel_resets": ("Channel resets because of retention", hub.resets),
            "bellwire_slow_readers_cut": ("Slow readers disconnected", engine.slow_closed),
            "bellwire_commits": ("Committed batches", writer.commits.count),
            "bellwire_commands": ("Committed commands", writer.commands),
            "bellwire_commit_seconds": ("Time from the begin of a batch to its commit", writer.commits.seconds),
            "bellwire_commit_trips": ("Round trips of batches to PostgreSQL", services.database.trips),
            "bellwire_resumed": ("Sessions that resumed from offsets", services.sessions.resumed),
        }
        redis, broker = services.cluster.redis, services.hub.broker
        if redis and isinstance(broker, RedisBroker):
            gauges["bellwire_redis_connected"] = ("Whether all Redis servers are connected", redis.connected)
            counters |= {
                "bellwire_redis_connections": ("Connections opened to Redis", redis.connections),
                "bellwire_hints_dropped": ("Hints dropped for lack of a Redis connection", redis.dropped),
                "bellwire_hints_forged": ("Messages from Redis with an invalid signature", broker.forged),
            }
        worker = services.worker
        gauges |= {
            "bellwire_push_in_flight": ("Pushes in flight", worker.in_flight),
            "bellwire_outbox_causes": ("Outbox rows waiting to be expanded", worker.depth.causes),
            "bellwire_outbox_deliveries": ("Deliveries waiting to be sent", worker.depth.deliveries),
            "bellwire_due_late_seconds": (
                "Delay of the oldest work that is due at a time",
                services.due_work.late_seconds,
            ),
            "bellwire_search_unindexed_chats": (
                "Chats whose messages wait to be indexed for searches",
                len(services.indexer.unindexed),
            ),
            "bellwire_outbox_age_seconds": ("Age of the oldest outbox row or delivery", worker.depth.age),
        }
        counters |= {
            "bellwire_push_retries": ("Push retries", worker.retried),
            "bellwire_push_dead_tokens_kept": (
                "Tokens that a provider called dead, with too many others",
                sum(each.disbelieved for each in worker.senders.values()),
            ),
        }
        namespace = services.namespace
        yield pushes(worker)
        yield channels(services.push_channels)
        yield due_runs(services.due_work)
        yield by("bellwire_connects", "CONNECTs by outcome", "outcome", namespace.connects)
        yield by("bellwire_events", "Events from clients", "event", namespace.received)
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(name, text, value=value)


def pushes(worker: Worker) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "bellwire_pushes", "Settled pushes by provider and outcome", labels=["provider", "outcome"]
    )
    for name, sender in worker.senders.items():
        for outcome in ("sent", "skipped", "dropped", "dead"):
            family.add_metric([name, outcome], sender.settled[outcome])
    return family


def due_runs(due_work: DueWork) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "bellwire_due", "Work that was due at a time, by kind and outcome", labels=["kind", "outcome"]
    )
    for kind in due_work.handlers:
        for outcome in ("done", "failed"):
            family.add_metric([kind, outcome], due_work.runs[kind, outcome])
    return family


def channels(push_channels: PushChannels | None) -> GaugeMetricFamily:
    family = GaugeMetricFamily("bellwire_push_channels", "Channels at Apple by state", labels=["state"])
    if push_channels:
        for state in STATES:
            family.add_metric([state], push_channels.counts.get(state, 0))
    return family


def by(name: str, text: str, label: str, counts: Mapping[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def figures(services: Services) -> dict[str, float]:
    """What the monitor shows: counters since the start, sizes in bytes, times in seconds."""
    writer, worker = services.database.writer, services.worker
    return {
        "sockets": len(services.socketio.eio.sockets),
        "commits": writer.commits.count,
        "commands": writer.commands,
        "commitSeconds": writer.commits.seconds,
        **lengths("commitMs", writer.commits),
        "deliveries": services.hub.delivered,
        "answers": services.answers.count,
        "answerSeconds": services.answers.seconds,
        **lengths("answerMs", services.answers),
        "connects": sum(services.namespace.connects.values()),
        "waiting": writer.depth,
        "cpuSeconds": time.process_time(),
        "pushes": sum(worker.settled.values()),
        "outbox": worker.depth.causes + worker.depth.deliveries,
        "outboxAge": worker.depth.age,
        "memory": memory(),
    }


def lengths(name: str, histogram: LatencyHistogram) -> dict[str, float]:
    """How many took at most so many milliseconds, and more than the bound before; the last is without a bound."""
    return {f"{name}{bound}": count for bound, count in zip((*BOUNDS_MS, "More"), histogram.counts, strict=True)}


def memory() -> int:
    """Bytes in use; where that can't be read, the most that ever were."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def install(app: web.Application, services: Services) -> None:
    registry = app[REGISTRY] = CollectorRegistry()
    registry.register(Live(services))
    app[REQUESTS] = Counter(
        "bellwire_http_requests", "Answered requests", ["method", "route", "status"], registry=registry
    )
    app[SECONDS] = Summary("bellwire_http_seconds", "HTTP response time", ["route"], registry=registry)


def count_request(request: web.Request, route: str, status: int, seconds: float) -> None:
    """``route`` is a pattern, never a path: that would hold ids. Sockets and long polls have no length."""
    request.app[REQUESTS].labels(request.method, route, status).inc()
    if route != "/socket.io/":
        request.app[SECONDS].labels(route).observe(seconds)
        request.app[SERVICES].answers.add(seconds)


async def show(request: web.Request) -> web.Response:
    """To this machine and private networks; to others with the token of the settings."""
    services = request.app[SERVICES]
    token = services.settings.metrics_token.get_secret_value()
    if not services.addresses.is_private(request):
        given = await token_of(request)
        if not token or not secrets.compare_digest(given.encode(errors="replace"), token.encode()):
            raise Unauthenticated
    return web.Response(
        body=generate_latest(request.app[REGISTRY]), headers={"Content-Type": "text/plain; version=0.0.4"}
    )

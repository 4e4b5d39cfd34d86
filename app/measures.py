"""What is measured of the running service, for Prometheus: every measure once, with its name and its labels.

Nothing here names a tenant, a customer or an id: labels have few values, all known beforehand. Each process writes its
measures to a file of its own in a directory that the supervisor makes, and whichever process is asked adds them up
(`app.http.metrics`). Without a supervisor they are kept in memory.
"""

from __future__ import annotations

import os
import platform
import time
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, values

from app import __version__

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where the library looks for the directory that the processes share."""

PROCESS_VARIABLE = "TAXIMETER_PROCESS"
"""The place of this process among those of its supervisor, such as `web1`. The process that takes a dead one's place
carries on in its file: totals do not go back, and there are no more files than places."""

PROCESS = os.environ.get(PROCESS_VARIABLE, "")

# Decided before the first measure is made. Who runs other programs in this mode, too, may have the library's variable
# set; only a supervisor sets ours.
values.ValueClass = values.MultiProcessValue(lambda: PROCESS) if PROCESS else values.MutexValue

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. From a plain read to what waits for a position (20 s) or walks a test clock (40 s)."""

STATEMENT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. From a database on the same machine to one that hardly answers."""

WORK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds. From a page with one event, or the close of a small cycle, to the time limit of a statement."""

EVENTS = Counter(
    "taximeter_ingest_events",
    "Usage events by what became of them: recorded, duplicate, conflict, rejected",
    ["outcome"],
)
EVENTS_RECORDED, EVENTS_DUPLICATE, EVENTS_CONFLICT, EVENTS_REJECTED = (
    EVENTS.labels(outcome) for outcome in ("recorded", "duplicate", "conflict", "rejected")
)

INGEST_SECONDS = Histogram(
    "taximeter_ingest_duration_seconds",
    "From a checked batch to its durable commit; the count is that of batches",
    buckets=REQUEST_BUCKETS,
)

REQUESTS = Counter("taximeter_http_requests", "Answered requests", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "taximeter_http_request_duration_seconds",
    "From a request's headers to the end of its answer",
    ["method", "route"],
    buckets=REQUEST_BUCKETS,
)

LAG_EVENTS = Gauge(
    "taximeter_projection_lag_events",
    "Events that the quantities of the tenant furthest behind lack",
    multiprocess_mode="livemostrecent",
)
LAG_SECONDS = Gauge(
    "taximeter_projection_lag_seconds",
    "How long the longest waiting event has waited to be counted, by this machine's clock",
    multiprocess_mode="livemostrecent",
)
PAGE_SECONDS = Histogram(
    "taximeter_projection_page_duration_seconds",
    "Folding and committing a page of the log; the count is that of pages",
    buckets=WORK_BUCKETS,
)
PAGE_FAILURES = Counter("taximeter_projection_failures", "Pages that could not be folded")

CYCLES_CLOSED = Counter("taximeter_cycles_closed", "Cycles closed")
CLOSE_SECONDS = Histogram(
    "taximeter_close_duration_seconds",
    "The transaction that closes a cycle, the wait for its tenant's log included",
    buckets=WORK_BUCKETS,
)
CLOSE_FAILURES = Counter(
    "taximeter_close_failures", "Tries of the scheduler that failed to close what is due of a subscription"
)

LIVE_SOCKETS = Gauge("taximeter_live_sockets", "Open sockets of the live channel", multiprocess_mode="livesum")
FRAMES = Counter(
    "taximeter_live_frames",
    "Frames sent, and values dropped because a newer one came before the socket took them",
    ["outcome"],
)
FRAMES_SENT, FRAMES_DROPPED = (FRAMES.labels(outcome) for outcome in ("sent", "dropped"))

POOL_SIZE = Gauge(
    "taximeter_database_pool_connections", "Open connections of a process's pool", multiprocess_mode="liveall"
)
POOL_IDLE = Gauge("taximeter_database_pool_idle", "Those of them that nobody uses", multiprocess_mode="liveall")
POOL_WAITING = Gauge(
    "taximeter_database_pool_waiting", "Those who wait for a connection of the pool", multiprocess_mode="liveall"
)
ROUND_TRIP_SECONDS = Histogram(
    "taximeter_database_round_trip_seconds",
    "A statement that does nothing, once a second in each process, without the wait for a connection",
    buckets=STATEMENT_BUCKETS,
)

STARTED = Gauge(
    "taximeter_process_start_time_seconds",
    "When a process of the service started, in seconds since 1970",
    multiprocess_mode="liveall",
)
BUILD = Gauge(
    "taximeter_build_info",
    "Always 1; the labels say what runs",
    ["version", "python"],
    multiprocess_mode="livemax",
)

STARTED.set(time.time())
BUILD.labels(__version__, platform.python_version()).set(1)


class Requests:
    """Requests by method, route and status. The labelled measures are kept: to look them up costs more than to use."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, str, int], Any] = {}
        self._timed: dict[tuple[str, str], Any] = {}

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answered request. The route is a template out of the program, never what a client sent."""
        key = (method, route, status)
        counted = self._counted.get(key)
        if counted is None:
            counted = self._counted[key] = REQUESTS.labels(method, route, str(status))
            self._timed.setdefault((method, route), REQUEST_SECONDS.labels(method, route))
        counted.inc()
        self._timed[method, route].observe(seconds)


def note_pool(size: int, idle: int, waiting: int) -> None:
    """How the pool of this process stands."""
    POOL_SIZE.set(size)
    POOL_IDLE.set(idle)
    POOL_WAITING.set(waiting)

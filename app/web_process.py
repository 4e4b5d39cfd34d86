"""What a web process does: the application, served from the socket that the supervisor opened."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import uvicorn

from app.commands import traced_service
from app.draining import Draining
from app.garbage import keep_what_is_there, look_rarely
from app.http.admission import Admission
from app.http.application import build
from app.http.http_transport import CONNECTIONS_MAX, bounded_http
from app.http.raw_path import ASGIApp
from app.http.websocket_transport import PING_SECONDS, PONG_SECONDS, BoundedWebSocket
from app.limits import OTHER_FILES_MAX
from app.live.frames import FRAME_MAX_BYTES
from app.operating import Operating
from app.service import Service
from domain.tenant import Rules

GRACE_SECONDS = 10
"""How long requests in flight may take once the process was told to stop."""

IDLE_SECONDS = 75
"""How long a connection may lie idle between two requests: longer than clients and load balancers commonly keep one
(5 to 60 s). The client should hang up first: otherwise a request may meet a connection that is just being closed."""


def serve(plan: dict[str, Any], rules: Rules, draining: Draining, *, events_only: bool) -> None:
    """Serve from the plan's socket until the process is told to stop; with ``events_only`` nothing but events."""

    look_rarely()

    def opened() -> AbstractAsyncContextManager[Service]:
        return traced_service(plan["dsn"], rules, os.environ, events_only=events_only)

    operating = Operating(plan["metrics"], plan["metrics_token"], draining, Path(plan["signing_key"]))
    application, served = build(opened, plan["origins"], operating, events_only=events_only)
    _allow_files()
    config = server_config(served, application.state.admission)
    keep_what_is_there()
    # Handed over as a socket and not with uvicorn's `fd`, which takes any descriptor for a Unix socket: the loop would
    # then leave TCP_NODELAY off, and each answer on a kept connection would wait 40 ms for the client's delayed ACK.
    with socket.socket(fileno=plan["socket"]) as listener:
        uvicorn.Server(config).run(sockets=[listener])


def server_config(served: ASGIApp, admission: Admission) -> uvicorn.Config:
    """How the application is served, whose rooms are these."""
    return uvicorn.Config(
        served,  # type: ignore[arg-type]
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=IDLE_SECONDS,
        server_header=False,
        http=bounded_http(admission),
        ws=BoundedWebSocket,
        ws_max_size=FRAME_MAX_BYTES,
        # A frame is packed for each socket anew: the memory and the time cost more than the bytes they save.
        ws_per_message_deflate=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
    )


def _allow_files() -> None:
    """Each connection is a file, and systems commonly allow a thousand unless more is asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + OTHER_FILES_MAX
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))

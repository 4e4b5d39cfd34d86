"""A child of ``taximeter serve``: a web process, or the projector with the scheduler."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import socket
import sys
import threading
from typing import Any

import msgspec
import uvicorn

from app.commands import open_service, work
from app.http.application import build
from app.http.raw_path import ASGIApp
from app.http.websocket_transport import PING_SECONDS, PONG_SECONDS, BoundedWebSocket
from app.limits import LIVE_SOCKETS_MAX
from app.live.frames import FRAME_MAX_BYTES
from app.logs import LogFormat, configure
from domain.tenant import Rules

GRACE_SECONDS = 10
"""How long requests in flight may take once the process was told to stop."""

IDLE_SECONDS = 75
"""How long a connection may lie idle between two requests: longer than clients and load balancers commonly keep one
(5 to 60 s). The client should hang up first: otherwise a request may meet a connection that is just being closed."""

GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""How rarely circles of references are looked for. Nearly everything here is freed without, and a look at all there is
holds up everybody: nearly a second, several times a minute, with 5,000 sockets and Python's own 700, 10 and 10."""

OTHER_FILES_MAX = 2_000
"""Files of a web process beside the sockets of the live channel: requests, and connections of the database."""


def main() -> None:
    """Do the work of the role in ``argv``; the plan is in the environment."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    plan: dict[str, Any] = json.loads(os.environ["TAXIMETER_CHILD"])
    configure(LogFormat(plan["log_format"]))
    rules = msgspec.convert(plan["rules"], Rules)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    if sys.argv[1] == "web":
        _serve(plan, rules)
    else:
        asyncio.run(_project(plan, rules))


def _die_with_parent() -> None:
    """End when the supervisor is gone: its end of this pipe closes however it was killed."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _serve(plan: dict[str, Any], rules: Rules) -> None:
    _, application = build(lambda: open_service(plan["dsn"], rules), plan["origins"])
    _allow_files()
    config = server_config(application)
    gc.collect()
    gc.freeze()  # What was imported and built so far stays, and need not be looked at again.
    # Handed over as a socket and not with uvicorn's `fd`, which takes any descriptor for a Unix socket: the loop would
    # then leave TCP_NODELAY off, and each answer on a kept connection would wait 40 ms for the client's delayed ACK.
    with socket.socket(fileno=plan["socket"]) as listener:
        uvicorn.Server(config).run(sockets=[listener])


def server_config(application: ASGIApp) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        application,  # type: ignore[arg-type]
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=IDLE_SECONDS,
        server_header=False,
        ws=BoundedWebSocket,
        ws_max_size=FRAME_MAX_BYTES,
        # A frame is packed for each socket anew: the memory and the time cost more than the bytes they save.
        ws_per_message_deflate=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
    )


def _allow_files() -> None:
    """Each socket is a file, and systems commonly allow a thousand unless more is asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = LIVE_SOCKETS_MAX + OTHER_FILES_MAX
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


async def _project(plan: dict[str, Any], rules: Rules) -> None:
    async with open_service(plan["dsn"], rules) as service:
        await work(service, plan["dsn"])


if __name__ == "__main__":
    main()

"""A child of ``taximeter serve``: a web process, or the projector with the scheduler."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import threading
from typing import Any

import msgspec
import uvicorn

from app.commands import open_service, work
from app.http.application import build
from domain.tenant import Rules

GRACE_SECONDS = 10
"""How long requests in flight may take once the process was told to stop."""


def main() -> None:
    """Do the work of the role in ``argv``; the plan is in the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_die_with_parent, daemon=True).start()
    plan: dict[str, Any] = json.loads(os.environ["TAXIMETER_CHILD"])
    rules = msgspec.convert(plan["rules"], Rules)
    if sys.argv[1] == "web":
        _serve(plan, rules)
    else:
        asyncio.run(_project(plan, rules))


def _die_with_parent() -> None:
    """End when the supervisor is gone: its end of this pipe closes however it was killed."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _serve(plan: dict[str, Any], rules: Rules) -> None:
    _, application = build(lambda: open_service(plan["dsn"], rules))
    config = uvicorn.Config(
        application,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )
    # Handed over as a socket and not with uvicorn's `fd`, which takes any descriptor for a Unix socket: the loop would
    # then leave TCP_NODELAY off, and each answer on a kept connection would wait 40 ms for the client's delayed ACK.
    with socket.socket(fileno=plan["socket"]) as listener:
        uvicorn.Server(config).run(sockets=[listener])


async def _project(plan: dict[str, Any], rules: Rules) -> None:
    async with open_service(plan["dsn"], rules) as service:
        await work(service, plan["dsn"])


if __name__ == "__main__":
    main()

"""A child of ``taximeter serve``: a web process, or the projector with the scheduler."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from typing import Any

import msgspec
import uvloop

from app.commands import traced_service, work
from app.draining import Draining
from app.logs import LogFormat, configure
from domain.tenant import Rules
from projections.fault_points import arm


def main() -> None:
    """Do the work of the role in ``argv``; the plan is in the environment."""
    draining = Draining()
    threading.Thread(target=_hear_supervisor, args=(draining,), daemon=True).start()
    plan: dict[str, Any] = json.loads(os.environ["TAXIMETER_CHILD"])
    configure(LogFormat(plan["log_format"]))
    arm(os.environ, f"{sys.argv[1]} {plan['generation']}")
    rules = msgspec.convert(plan["rules"], Rules)
    if sys.argv[1] == "project":
        uvloop.run(_project(plan, rules))
        return
    # The projector lives without the web framework, and has begun sooner.
    from app.web_process import serve

    serve(plan, rules, draining, events_only=sys.argv[1] == "events")


def _hear_supervisor(draining: Draining) -> None:
    """A byte says that the stop begins. End when the supervisor is gone: its end of this pipe closes however it was
    killed."""
    while os.read(sys.stdin.fileno(), 1):
        draining.begin()
    os._exit(1)


async def _project(plan: dict[str, Any], rules: Rules) -> None:
    async with traced_service(plan["dsn"], rules, os.environ) as service:
        await work(service, plan["dsn"], asyncio.Event())


if __name__ == "__main__":
    main()

"""The children of a service, forked from one process that has imported everything: a kill costs milliseconds.

The children do what those of ``taximeter serve`` do, by the same function; only who starts them is another one. Rounds
with the real supervisor run beside (`tests.chaos.stage`).
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import os
import signal
import sys
import time
import traceback
from typing import Any, NoReturn

import msgspec

from app import child, web_process
from app.commands import open_service
from app.http.application import build
from app.supervisor import listen
from domain.tenant import Rules

PLAN = "CHAOS_PLAN"
"""The environment variable that holds the plan of the children, and the roles to be filled."""

PR_SET_PDEATHSIG = 1
"""`prctl`: be killed when the parent is gone, however it ended."""

FILES_MAX = 4_096
"""More files than the nursery ever has open."""

PAUSE_SECONDS = 0.02
"""Before a successor is born, so that children that cannot live do not spin."""


def main() -> NoReturn:
    """Fork a child for each role, and another one whenever it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    plan: dict[str, Any] = json.loads(os.environ[PLAN])
    listener = listen("127.0.0.1", 0)
    plan["socket"] = listener.fileno()
    rules = msgspec.convert(plan["rules"], Rules)
    built = build(lambda: open_service(plan["dsn"], rules))
    # Built once, before the fork.
    web_process.build = lambda *_, **__: built  # type: ignore[assignment]
    gc.collect()
    gc.freeze()
    say(f"serves at http://127.0.0.1:{listener.getsockname()[1]}")
    generations = itertools.count()
    living = dict(fork(role, plan, next(generations)) for role in plan["roles"])
    while True:
        pid, status = os.waitpid(-1, 0)
        role, pipe = living.pop(pid)
        os.close(pipe)
        say(f"died {pid} {role} {os.waitstatus_to_exitcode(status)}")
        time.sleep(PAUSE_SECONDS)
        pid, life = fork(role, plan, next(generations))
        living[pid] = life


def fork(role: str, plan: dict[str, Any], generation: int) -> tuple[int, tuple[str, int]]:
    """A child that works until it is killed or this process is gone: pid, role, and the pipe that tells it so."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reading)
        say(f"born {pid} {role}")
        return pid, (role, writing)
    try:
        os.dup2(reading, sys.stdin.fileno())
        # Above all the pipes of its siblings: whoever holds one of those keeps the sibling from noticing.
        os.closerange(3, plan["socket"])
        os.closerange(plan["socket"] + 1, FILES_MAX)
        os.environ["TAXIMETER_CHILD"] = json.dumps({**plan, "generation": generation})
        sys.argv = ["app.child", role]
        child.main()
    except BaseException:
        # The parent's frames must not run on in its child, so nobody else would say what it died of.
        traceback.print_exc()
        raise
    finally:
        os._exit(1)


def say(line: str) -> None:
    """Tell whoever started this process."""
    print(line, flush=True)


if __name__ == "__main__":
    main()

"""One process of an audit's crew: opens the place that it is told of, then does job after job until its input ends."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from typing import Any, BinaryIO

import uvloop

from app.audit.crew import LENGTH_BYTES, packed


def main() -> None:
    """Work until nobody says what to do any more."""
    # Ctrl-C reaches the whole group; the first process ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Whatever prints something must not print it into an answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    uvloop.run(_work(told, answers))


async def _work(told: BinaryIO, answers: BinaryIO) -> None:
    open_place = _next(told)
    if open_place is None:
        return
    async with open_place() as place:
        # Nothing else is to be done in this process, so the loop may stand still while it waits for the next job.
        while message := _next(told):
            job, given, named = message
            try:
                answer = True, await job(place, *given, **named)
            except Exception as error:
                answer = False, error
            answers.write(packed(answer))
            answers.flush()


def _next(told: BinaryIO) -> Any:
    """The next message, or ``None`` at the end."""
    size = told.read(LENGTH_BYTES)
    return pickle.loads(told.read(int.from_bytes(size))) if len(size) == LENGTH_BYTES else None


if __name__ == "__main__":
    main()

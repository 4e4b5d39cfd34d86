"""Who does the work of an audit: this process, or several, each with a connection of its own on one snapshot."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from app.audit.place import Place
from app.database import DatabaseError

Open = Callable[[], AbstractAsyncContextManager[Place]]
"""Opens the place that an audit reads, once in each process; it has to survive pickling."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
Job = Callable[Concatenate[Place, Given], Awaitable[Answer]]
"""A function of a module that reads a place."""

LENGTH_BYTES = 8
"""What each message between processes begins with: how long the rest is."""


class CrewLost(DatabaseError):
    """A process of the crew has died."""


class Crew(Protocol):
    """Does jobs, at once if it is more than one."""

    processes: int

    async def do(self, job: Job[Given, Answer], *given: Given.args, **named: Given.kwargs) -> Answer:
        """The answer of a job, done as soon as somebody is free. Raises what the job raises, and ``CrewLost``."""
        ...


class _Alone:
    """This process, one job after another."""

    processes = 1

    def __init__(self, place: Place) -> None:
        self._place = place
        self._free = asyncio.Lock()

    async def do(self, job: Job[Given, Answer], *given: Given.args, **named: Given.kwargs) -> Answer:
        async with self._free:
            return await job(self._place, *given, **named)


class _Several:
    """Processes that are told by their standard input what to do and answer by their output."""

    def __init__(self, workers: list[Process]) -> None:
        self.processes = len(workers)
        self._free: asyncio.Queue[Process] = asyncio.Queue()
        for worker in workers:
            self._free.put_nowait(worker)

    async def do(self, job: Job[Given, Answer], *given: Given.args, **named: Given.kwargs) -> Answer:
        worker = await self._free.get()
        asking = asyncio.create_task(self._ask(worker, (job, given, named)))
        # Whoever is not waited for any more is not told so, and nobody wants to know then how it ended.
        asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        done, answer = await asyncio.shield(asking)
        if not done:
            raise cast("Exception", answer)
        return cast("Answer", answer)

    async def _ask(self, worker: Process, message: Any) -> tuple[bool, Any]:
        answer = await _asked(worker, message)
        self._free.put_nowait(worker)
        return answer


@asynccontextmanager
async def crew(open_place: Open, processes: int) -> AsyncIterator[Crew]:
    """A crew of so many processes; with one it is this one."""
    if processes == 1:
        async with open_place() as place:
            yield _Alone(place)
        return
    workers: list[Process] = []
    try:
        while len(workers) < processes:
            workers.append(await _started(open_place))
        yield _Several(workers)
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.kill()
        for worker in workers:
            await worker.wait()


async def _started(open_place: Open) -> Process:
    # Not the library's processes: each of those imports what the first one has, web server and all, and a fork of this
    # one would take its connections along.
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.audit.worker"),
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    _send(worker, open_place)
    return worker


async def _asked(worker: Process, message: Any) -> tuple[bool, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        _send(worker, message)
        await worker.stdin.drain()
        size = int.from_bytes(await worker.stdout.readexactly(LENGTH_BYTES))
        return pickle.loads(await worker.stdout.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise CrewLost("a process of the audit has died; nothing is proved") from error


def _send(worker: Process, message: Any) -> None:
    assert worker.stdin is not None
    worker.stdin.write(packed(message))


def packed(message: Any) -> bytes:
    """A message between processes, its length first."""
    body = pickle.dumps(message)
    return len(body).to_bytes(LENGTH_BYTES) + body

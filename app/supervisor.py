"""``taximeter serve``: one process holds the database and the socket, its children do the work."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import signal
import socket
import sys
from argparse import Namespace
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from app import settings, tracing
from app.audit.signing_key import key_path
from app.backup.commands import use_wal_archive
from app.backup.watching import watch_archive
from app.clock_check import clock_trouble
from app.commands import database, open_service, prepare, tell
from app.engine.launcher import revive
from app.engine.locks import FileLock
from app.engine.problems import EngineError
from app.keys import create_first_key, find_caller
from app.last_connections import let_nobody_in
from app.measure_files import MeasureFiles, measure_files
from app.projecting import pause
from app.server_watch import watch
from app.service import Service
from app.upgrading import bring_read_models, read_models_fit, watch_fit

END_SECONDS = 15.0
"""How long children may take to finish what they are at before they are killed."""

RESTART_SECONDS = 1.0
"""The pause before a child that died is started again, so that one that cannot live does not spin."""

BACKLOG = 2_048
"""Connections that the kernel holds while the web processes are busy."""

DRAINING = b"d"
"""What a web process is told when the stop begins; see ``app.child``."""

_GENERATIONS = itertools.count()
"""Which child of this process each is: the dice of armed faults must not fall alike for one and the next."""


@dataclass
class Stopping:
    """Whether the service is told to stop, and whether without waiting for those who look whether it is ready."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)

    def signalled(self, number: int) -> None:
        """SIGTERM comes from what manages the service, SIGINT from a person at a terminal, who wants to be done. So
        does who sends a second one."""
        if number == signal.SIGINT or self.asked.is_set():
            self.hurried.set()
        self.asked.set()


@dataclass
class Children:
    """The processes of the service: what they are given, and those that run, by what they do."""

    plan: dict[str, Any]
    files: MeasureFiles
    workers: int
    running: dict[Process, str] = field(default_factory=dict[Process, str])
    draining: bool = False

    @property
    def dsn(self) -> str:
        """The address of the database, which may move when the embedded one is started again."""
        return self.plan["dsn"]

    def begin(self, role: str, child: Process) -> None:
        """Take in a child that was started."""
        self.running[child] = role
        if self.draining and role != "project":
            tell_draining(child)

    def drain(self) -> None:
        """Tell the web processes, also those that begin from now on, that they are about to stop."""
        self.draining = True
        for child, role in self.running.items():
            if role != "project":
                tell_draining(child)


def tell_draining(process: Process) -> None:
    """Tell a web process, unless it has just ended."""
    assert process.stdin is not None, "children have a pipe"
    if not process.stdin.is_closing():
        process.stdin.write(DRAINING)


def serve(flags: Namespace, environment: Mapping[str, str]) -> int:
    """Serve until SIGINT or SIGTERM; then stop children and the embedded database in order."""
    return asyncio.run(_serve(flags, environment))


async def _serve(flags: Namespace, environment: Mapping[str, str]) -> int:
    host, port = settings.value(settings.HOST, flags, environment), settings.value(settings.PORT, flags, environment)
    workers = settings.value(settings.WORKERS, flags, environment)
    rules, origins = settings.rules(flags, environment), settings.value(settings.ALLOW_ORIGIN, flags, environment)
    drain_seconds = settings.value(settings.DRAIN, flags, environment)
    shows_metrics = not settings.value(settings.NO_METRICS, flags, environment)
    tracing.asked_for(environment)
    stopping = Stopping()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.signalled, number)
    listener = listen(host, port)
    try:
        await use_wal_archive(flags, environment)
        async with database(flags, environment) as dsn, only_server(flags, environment):
            await prepare(dsn)
            plan = {
                "dsn": dsn,
                "rules": msgspec.to_builtins(rules),
                "socket": listener.fileno(),
                "origins": origins,
                "log_format": settings.value(settings.LOG_FORMAT, flags, environment),
                "metrics": shows_metrics,
                "metrics_token": settings.value(settings.METRICS_TOKEN, flags, environment),
                "signing_key": str(key_path(flags, environment)),
            }
            # A database by URL is somebody else's to start again; the embedded one is ours.
            own = not settings.value(settings.DATABASE_URL, flags, environment)
            with measure_files(shown=shows_metrics) as files:
                children = Children(plan, files, workers)
                if not await read_models_fit(dsn):
                    await _rebuild(dsn, children, stopping, _url(listener))
                if stopping.asked.is_set():
                    status = 0
                else:
                    async with open_service(dsn, rules) as service:
                        if (trouble := await clock_trouble(service)) is not None:
                            tell(trouble)
                        keys = await _key_lines(service, flags, environment)
                    print(_welcome(_url(listener), _place(flags, environment), keys), flush=True)
                    data: Path | None = settings.value(settings.DATA, flags, environment) if own else None
                    status = await _run(children, stopping, listener, drain_seconds, data)
    finally:
        listener.close()
    print("taximeter: stopped", flush=True)
    return status


async def _run(
    children: Children, stopping: Stopping, listener: socket.socket, drain_seconds: float, data: Path | None
) -> int:
    """Run the processes until the stop, and stop them in order. The status to end with: 1 when the embedded database,
    at home in ``data``, was lost for good, and 2 when the database is not this program's any more."""
    end_of_web, end_of_projector = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_keep_alive("project", "project", children, end_of_projector))
        web = [
            tasks.create_task(_keep_alive("web", f"web{number}", children, end_of_web))
            for number in range(1, children.workers + 1)
        ]
        outdated = tasks.create_task(_hurrying(watch_fit(lambda: children.dsn, stopping.asked, tell), stopping))
        lost = None
        if data is not None:
            lost = tasks.create_task(_hurrying(_tend(data, children, stopping.asked), stopping))
            tasks.create_task(watch_archive(lambda: children.dsn, stopping.asked, tell))
        await stopping.asked.wait()
        # Whoever looks whether the service is ready turns away meanwhile; whoever does not is still served.
        children.drain()
        await pause(stopping.hurried, drain_seconds)
        await let_nobody_in(listener)
        end_of_web.set()
        await asyncio.wait(web)
        listener.close()
        # Only now: a request may wait until what it asked for is projected.
        end_of_projector.set()
    if outdated.result():
        return 2
    return 1 if lost is not None and lost.result() else 0


async def _hurrying(watching: Awaitable[bool], stopping: Stopping) -> bool:
    """What a watch says, which makes the stop a hurried one where it is the reason for it."""
    found = await watching
    if found:
        stopping.hurried.set()
    return found


async def _rebuild(dsn: str, children: Children, stopping: Stopping, url: str) -> None:
    """Rebuild the read models of an older program, and take events meanwhile. Ends early at the stop: the next start
    goes on. Raises what the rebuild raises."""
    tell(f"the read models are an older version's and are rebuilt now; {url} takes events meanwhile, and nothing else")
    rebuilding, over = asyncio.create_task(bring_read_models(dsn, tell)), asyncio.Event()
    asked = asyncio.create_task(stopping.asked.wait())
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, children.workers + 1):
                tasks.create_task(_keep_alive("events", f"web{number}", children, over))
            await asyncio.wait((rebuilding, asked), return_when=asyncio.FIRST_COMPLETED)
            over.set()
    finally:
        asked.cancel()
        rebuilding.cancel()
        await asyncio.wait((rebuilding,))
    if not stopping.asked.is_set():
        await rebuilding
        tell("the read models are rebuilt")


@asynccontextmanager
async def only_server(flags: Namespace, environment: Mapping[str, str]) -> AsyncIterator[None]:
    """Hold the data directory, which exists, while serving from it. Raises ``EngineError`` when another service does.

    Command-line tools may work beside a service; a second service by accident would only confuse its owner. With a
    database by URL any number may serve.
    """
    if settings.value(settings.DATABASE_URL, flags, environment):
        yield
        return
    data: Path = settings.value(settings.DATA, flags, environment)
    lock = FileLock(data / "serve.lock")
    try:
        if not lock.try_exclusive():
            raise EngineError(f"Taximeter is already being served from {data}; stop it first, or take another --data")
        yield
    finally:
        lock.close()


def listen(host: str, port: int) -> socket.socket:
    """The socket that every web process accepts from. Raises ``SettingError`` when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        hint = "; is Taximeter running already? try --port" if error.errno == errno.EADDRINUSE else ""
        raise settings.SettingError(f"cannot listen on {host} port {port}: {error.strerror}{hint}") from None
    listener.set_inheritable(True)
    return listener


async def _key_lines(service: Service, flags: Namespace, environment: Mapping[str, str]) -> tuple[str, str]:
    """What to say about keys, and the key for the first `curl`: on an empty database a new one, shown only now."""
    tenant_id = settings.value(settings.TENANT, flags, environment)
    preset = settings.value(settings.API_KEY, flags, environment)
    secret = await create_first_key(service, tenant_id, "first key", preset or None)
    if secret is not None:
        return f"API key (shown only now): {secret}", secret
    if not preset:
        return "API key: the one you have (`taximeter key create` makes more)", "YOUR_API_KEY"
    if await find_caller(service, preset, "") is None:
        return (
            f"API key: TAXIMETER_API_KEY is no key of this database and was not added, since tenant {tenant_id} has"
            " keys; use one of them (`taximeter key create` makes more), or another --data"
        ), "YOUR_API_KEY"
    return "API key: that of TAXIMETER_API_KEY", "$TAXIMETER_API_KEY"


def _url(listener: socket.socket) -> str:
    address = listener.getsockname()
    host = "127.0.0.1" if address[0] in ("0.0.0.0", "::") else address[0]
    return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"


def _welcome(url: str, place: str, keys: tuple[str, str]) -> str:
    event = '{"events":[{"event_id":"hello-1","customer_id":"ada","event_name":"api.call"}]}'
    return "\n".join(
        [
            f"Taximeter serves at {url}   (dashboard: {url}/, API: {url}/schema)",
            f"Data: {place}",
            keys[0],
            "Send a first event:",
            f"  curl {url}/events/ingest -H \"Authorization: Bearer {keys[1]}\" -H 'Content-Type: application/json' \\",
            f"    -d '{event}'",
            "Ctrl-C stops everything.",
        ]
    )


def _place(flags: Namespace, environment: Mapping[str, str]) -> str:
    """Where the data is, without the password of an address."""
    if settings.value(settings.DATABASE_URL, flags, environment):
        return "in the database of --database-url"
    return str(settings.value(settings.DATA, flags, environment))


async def _tend(data: Path, children: Children, stop: asyncio.Event) -> bool:
    """Start the embedded server again whenever it is gone; True, and ``stop`` is set, when that cannot be done.

    Children find a server that lives again by themselves. One that lives at another address gets other children.
    """
    while await watch(children.dsn, stop):
        before = children.dsn
        try:
            children.plan["dsn"] = (await revive(data)).dsn
        except EngineError as error:
            tell(f"{error} Stopping; a start that succeeds recovers everything that was acknowledged")
            stop.set()
            return True
        for child in children.running if children.dsn != before else ():
            with suppress(ProcessLookupError):  # One that has just ended by itself gets a successor anyway.
                child.terminate()
        tell("the embedded PostgreSQL server runs again, with everything that was acknowledged")
    return False


async def _keep_alive(role: str, place: str, children: Children, stop: asyncio.Event) -> None:
    """Run a child in this place, and another one whenever it dies, until the stop."""
    while not stop.is_set():
        child = await _start(role, place, children)
        children.begin(role, child)
        ended = asyncio.create_task(child.wait())
        told = asyncio.create_task(stop.wait())
        await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if stop.is_set():
            await _end(child, ended)
        del children.running[child]
        if stop.is_set():
            return
        children.files.died(place)
        print(f"taximeter: the {role} process ended with status {ended.result()}; starting another", file=sys.stderr)
        await asyncio.sleep(RESTART_SECONDS)


async def _start(role: str, place: str, children: Children) -> Process:
    # In a session of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops its children in order.
    plan = {"TAXIMETER_CHILD": json.dumps({**children.plan, "generation": next(_GENERATIONS)})}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app.child",
        role,
        env={**os.environ, **plan, **children.files.environment(place)},
        pass_fds=[children.plan["socket"]] if role != "project" else [],
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def _end(child: Process, ended: asyncio.Task[int]) -> None:
    if child.returncode is None:
        child.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await asyncio.shield(ended)
    except TimeoutError:
        child.kill()
        await ended

"""``taximeter serve``: one process holds the database and the socket, its children do the work."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from argparse import Namespace
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from app import settings
from app.commands import database, open_service, prepare
from app.engine.locks import FileLock
from app.engine.problems import EngineError
from app.keys import create_first_key, find_caller
from app.projecting import pause, wait_any
from app.service import Service

DRAIN_SECONDS = 15.0
"""How long children may take to finish what they are at before they are killed."""

RESTART_SECONDS = 1.0
"""The pause before a child that died is started again, so that one that cannot live does not spin."""

WATCH_SECONDS = 1.0
"""The pause before a database that hung up is called again."""

REFUSALS_MAX = 3
"""Calls in a row that nobody takes before the embedded server counts as gone: one may fail on a busy machine."""

CALL_SECONDS = 30
"""A server that lives takes a call in milliseconds; one that only is slow is called again."""

BACKLOG = 2_048
"""Connections that the kernel holds while the web processes are busy."""


def serve(flags: Namespace, environment: Mapping[str, str]) -> int:
    """Serve until SIGINT or SIGTERM; then stop children and the embedded database in order."""
    return asyncio.run(_serve(flags, environment))


async def _serve(flags: Namespace, environment: Mapping[str, str]) -> int:
    host, port = settings.value(settings.HOST, flags, environment), settings.value(settings.PORT, flags, environment)
    workers = settings.value(settings.WORKERS, flags, environment)
    rules, origins = settings.rules(flags, environment), settings.value(settings.ALLOW_ORIGIN, flags, environment)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = listen(host, port)
    try:
        async with database(flags, environment) as dsn, only_server(flags, environment):
            await prepare(dsn)
            async with open_service(dsn, rules) as service:
                keys = await _key_lines(service, flags, environment)
            plan = {
                "dsn": dsn,
                "rules": msgspec.to_builtins(rules),
                "socket": listener.fileno(),
                "origins": origins,
                "log_format": settings.value(settings.LOG_FORMAT, flags, environment),
            }
            print(_welcome(listener, _place(flags, environment), keys), flush=True)
            roles = ["project", *["web"] * workers]
            async with asyncio.TaskGroup() as tasks:
                for role in roles:
                    tasks.create_task(_keep_alive(role, plan, stop))
                # A database by URL is somebody else's to start again; the embedded one is ours.
                own = not settings.value(settings.DATABASE_URL, flags, environment)
                watching = tasks.create_task(watch(dsn, stop)) if own else None
    finally:
        listener.close()
    print("taximeter: stopped", flush=True)
    return 1 if watching is not None and watching.result() else 0


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


def _welcome(listener: socket.socket, place: str, keys: tuple[str, str]) -> str:
    address = listener.getsockname()
    host = "127.0.0.1" if address[0] in ("0.0.0.0", "::") else address[0]
    url = f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"
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


async def watch(dsn: str, stop: asyncio.Event) -> bool:
    """Hold a connection until ``stop``; when the server is gone, say so, set ``stop`` and answer True.

    A server that hangs up and then says that it recovers, or that it has no connection to spare, lives.
    """
    refusals = 0
    while not stop.is_set():
        try:
            await _until_hung_up(dsn, stop)
            refusals = 0
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            refusals = 0
        except OSError as error:
            refusals += 1
            if refusals >= REFUSALS_MAX:
                print(
                    f"taximeter: the embedded PostgreSQL server is gone ({error}); its log is server.log in the data"
                    " directory. Stopping; the next start recovers everything that was acknowledged",
                    file=sys.stderr,
                    flush=True,
                )
                stop.set()
                return True
        await pause(stop, WATCH_SECONDS)
    return False


async def _until_hung_up(dsn: str, stop: asyncio.Event) -> None:
    """Return when the connection ends, or at the stop. Raises what `asyncpg.connect` raises."""
    hung_up = asyncio.Event()
    connection = await asyncpg.connect(
        dsn, timeout=CALL_SECONDS, server_settings={"application_name": "taximeter watch"}
    )
    try:
        connection.add_termination_listener(lambda _: hung_up.set())
        if not connection.is_closed():
            await wait_any(hung_up, stop)
    finally:
        connection.terminate()


async def _keep_alive(role: str, plan: dict[str, Any], stop: asyncio.Event) -> None:
    """Run a child, and another one whenever it dies, until the stop."""
    while not stop.is_set():
        child = await _start(role, plan)
        ended = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            await _end(child, ended)
            return
        print(f"taximeter: the {role} process ended with status {ended.result()}; starting another", file=sys.stderr)
        await asyncio.sleep(RESTART_SECONDS)


async def _start(role: str, plan: dict[str, Any]) -> Process:
    # In a session of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops its children in order.
    environment = {**os.environ, "TAXIMETER_CHILD": json.dumps(plan)}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app.child",
        role,
        env=environment,
        pass_fds=[plan["socket"]],
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def _end(child: Process, ended: asyncio.Task[int]) -> None:
    if child.returncode is None:
        child.terminate()
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await asyncio.shield(ended)
    except TimeoutError:
        child.kill()
        await ended

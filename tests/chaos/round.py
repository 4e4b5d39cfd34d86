"""One round: services under load while things break, then peace, then the checker."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec

from app.commands import open_service, prepare
from app.database import connect_owner
from app.engine.launcher import embedded
from app.keys import create_key, system_caller
from app.projecting import run_projector
from domain.tenant import Rules
from projections.rebuild import rebuild
from tests.chaos.business import DAYS_BACK, Business
from tests.chaos.check import check
from tests.chaos.estimates import compare_estimates
from tests.chaos.evidence import EvidenceFile, read_evidence
from tests.chaos.load import Clients
from tests.chaos.outcome import Outcome
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import Break, Schedule, tool_faults
from tests.chaos.stage import ROOT, Server, Service, environment, forked, supervised
from tests.conftest import serving

SERVING_AGAIN_SECONDS = 10.0
"""What a fault may cost, whatever it is."""

STORM_SECONDS = 60.0
"""Where faults come faster than anything recovers, and beside other tests: only that it serves again is asked for."""

FULL_DISK_SECONDS = 4.0
"""How long a disk stays full."""

PATIENCE = 3
"""How many times longer than it may take it is waited for, to know how long it did take."""

LASTING = ("hold up", "full disk", "rebuild", "migrate")
"""What lasts for a while. A rebuild holds up everybody while it compares, and its process takes seconds to begin."""

SMALL_DISK = "size=224m"
"""A disk that holds the server and a round's data, and is filled in a moment."""

SETTLE_SECONDS = 300.0
"""What sending again whatever was not answered may take, in peace, on a machine that is busy with others."""

PROBE_SECONDS = 0.05
"""Between two questions whether the service serves again."""

RULES = Rules(event_ahead_max=None, event_age_max=None, close_grace=timedelta(), number_prefix="INV-", company={})


@dataclass(frozen=True)
class Plan:
    """How a round is set up. ``forked`` children are cheap to kill; otherwise the real supervisor starts them.

    It lasts ``seconds``, and where that was too quiet a round until it is ``enough``, within ``STORM_SECONDS``.

    With ``one_at_a_time`` the next thing breaks only when the services have recovered from the one before, so that each
    recovery is measured by itself.
    """

    seconds: float
    forked: bool
    customers: int = 3
    pause_seconds: float = 0.15
    small_disk: bool = False
    one_at_a_time: bool = False
    back_seconds_max: float = SERVING_AGAIN_SECONDS
    directory: Path | None = None
    enough: Callable[[Outcome], bool] = lambda _: True


class Round:
    """The things of a round while it runs."""

    def __init__(self, schedule: Schedule, outcome: Outcome, plan: Plan) -> None:
        self.schedule = schedule
        self.plan = plan
        self.turn = asyncio.Lock()
        self.outcome = outcome
        self.dice = Random(f"{schedule.seed} dice")
        self.services: list[Service] = []
        self.proxies: list[Proxy] = []
        self.server: Server | None = None
        self.tends = True
        self.stop = asyncio.Event()
        self.probed = 0
        self.waiting = dict.fromkeys(range(len(schedule.faults)), False)
        self.hit: dict[int, float] = {}

    async def break_things(self, place: int, dsn: str, business: Business, evidence: EvidenceFile) -> None:
        """Do what is scheduled for one service or the database, one after the other, until the stop."""
        async with asyncio.TaskGroup() as tasks:
            for one in self.schedule.breaks[place]:
                if await _stopped(self.stop, one.pause_seconds):
                    return
                async with self.turn if self.plan.one_at_a_time else nullcontext():
                    waits = [
                        tasks.create_task(self._wait(one.what, asked, business, evidence))
                        for asked in await self._hit(one, dsn)
                        if not self.waiting[asked]
                    ]
                    if self.plan.one_at_a_time and waits:
                        await asyncio.wait(waits)

    async def _hit(self, one: Break, dsn: str) -> list[int]:
        """Do it; the services that were hit, with the time noted."""
        began = time.monotonic()
        if not await self._do(one, dsn):
            return []
        hit = list(range(len(self.services))) if one.service < 0 else [one.service]
        # What lasts by itself is a fault until it ends; a killed server is one until the service serves.
        self.hit.update(dict.fromkeys(hit, time.monotonic() if one.what in LASTING else began))
        return hit

    async def _wait(self, what: str, asked: int, business: Business, evidence: EvidenceFile) -> None:
        """Measure how long the service takes from its last fault: another one meanwhile begins the wait anew."""
        self.waiting[asked] = True
        service, began = self.services[asked], time.monotonic()
        await self._serves_again(service, business, evidence, began)
        now = time.monotonic()
        self.waiting[asked] = False
        back = now - self.hit[asked]
        self.outcome.longest_outage = max(self.outcome.longest_outage, now - began)
        self.outcome.back_seconds.setdefault(what, []).append(back)
        if back > self.plan.back_seconds_max:
            self.outcome.broken.append(f"'{what}': {service.name} served after {back:.1f} s")

    async def _do(self, one: Break, dsn: str) -> bool:
        proxy = self.proxies[one.service] if 0 <= one.service < len(self.proxies) else None
        match one.what:
            case "kill web" | "kill project":
                return self.services[one.service].kill(one.what.removeprefix("kill "), self.dice)
            case "cut" if proxy is not None:
                proxy.cut_one()
            case "cut in copy" if proxy is not None:
                proxy.cut_in_copy()
            case "hold up" if proxy is not None:
                self.outcome.held_up += 1
                await proxy.hold_up(2)
            case "server" if self.server is not None:
                if not self.server.kill_whole():
                    return False
                if self.tends:
                    await self.server.start_again()
            case "backend" if self.server is not None:
                return self.server.kill_backend(self.dice)
            case "full disk" if self.server is not None:
                await self.server.fill_disk(FULL_DISK_SECONDS)
            case "rebuild" | "migrate":
                await self._run_tool(one.what, dsn)
            case _:
                return False
        return True

    async def _run_tool(self, tool: str, dsn: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", tool, "--database-url", dsn),
            cwd=ROOT,
            env=environment(tool_faults(self.dice, tool), self.schedule.seed),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self.outcome.killed_tools += await process.wait() == -9

    async def _serves_again(self, service: Service, business: Business, evidence: EvidenceFile, began: float) -> float:
        """Seconds from the fault to an event that this service has recorded and projected since."""
        async with httpx.AsyncClient(
            base_url=service.url, headers=business.headers, timeout=SERVING_AGAIN_SECONDS
        ) as client:
            while time.monotonic() - began < PATIENCE * self.plan.back_seconds_max:
                self.probed += 1
                event = {"event_id": f"probe-{self.probed}", "customer_id": "nobody", "event_name": "probe"}
                try:
                    answered = await client.post("/events/ingest", json={"events": [event]})
                    if answered.is_success:
                        evidence.note(business.tenant_id, "recorded", event=event)
                        path = f"/meters/{business.meter_ids[0]}/usage"
                        asked = {
                            "customer_id": "nobody",
                            "start": "2026-01-01T00:00:00Z",
                            "end": "2026-01-02T00:00:00Z",
                            "at_least": answered.json()["position"],
                        }
                        if (await client.get(path, params=asked)).is_success:
                            break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(PROBE_SECONDS)
        return time.monotonic() - began


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return stop.is_set()
    return True


async def run_round(schedule: Schedule, plan: Plan) -> Outcome:
    """Run it in a directory of its own, which stays when something was broken."""
    outcome = Outcome(schedule.seed, plan.forked)
    home = _home(plan.directory)
    try:
        with _disk(home / "data") if plan.small_disk else nullcontext():
            await _run(schedule, plan, outcome, home)
    except (Exception, ExceptionGroup) as error:
        outcome.broken.append(f"the round itself failed: {error!r}")
        raise
    finally:
        if outcome.broken or outcome.verdict.broken:
            print(f"what was left is in {home}", file=sys.stderr, flush=True)
        else:
            shutil.rmtree(home)
    return outcome


def _home(directory: Path | None) -> Path:
    home = Path(tempfile.mkdtemp(prefix="taximeter-chaos-", dir=directory))
    # The server's account has to pass through.
    home.chmod(0o711)
    return home


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    """A small file system of its own at this place. Only root may mount one."""
    place.mkdir(mode=0o711)
    subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL_DISK, "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


async def _run(schedule: Schedule, plan: Plan, outcome: Outcome, home: Path) -> None:
    evidence = EvidenceFile(home / "evidence.jsonl")
    async with embedded(home / "data") as engine:
        await prepare(engine.dsn)
        businesses = await _open(engine.dsn)
        round_ = Round(schedule, outcome, plan)
        round_.server = Server(home / "data", engine.data_directory)
        async with _peace(engine.dsn) as client:
            await _furnish(client, businesses, plan, round_.dice)
        clients = Clients([], businesses, evidence, Random(f"{schedule.seed} load"))
        began = time.monotonic()
        if plan.forked:
            await _break_forked(round_, engine.dsn, plan, clients, home)
        else:
            await _break_supervised(round_, engine.dsn, plan, clients, home)
        outcome.seconds = time.monotonic() - began
        await round_.server.start_again()
        async with _peace(engine.dsn) as client:
            clients.urls = [""]
            async with asyncio.timeout(SETTLE_SECONDS):
                await clients.settle(client)
            for business in businesses:
                outcome.estimates += await compare_estimates(client, business, clients)
        evidence.close()
        outcome.broken += clients.broken
        outcome.statuses = dict(clients.statuses)
        outcome.verdict = await check(engine.dsn, read_evidence(home / "evidence.jsonl"))
        outcome.verdict.broken += await _replay(engine.dsn)
        _counted(round_)


async def _open(dsn: str) -> list[Business]:
    """Three tenants: one whose cycles close by themselves, one that closes by hand, one with a clock of its own."""
    today = datetime.now(UTC).date()
    businesses: list[Business] = []
    async with open_service(dsn, RULES) as service:
        for tenant_id in ("swift", "slow", "clocked"):
            clocked = tenant_id == "clocked"
            _, key = await create_key(service, system_caller(tenant_id), scope="write", test_mode=clocked)
            businesses.append(Business(tenant_id, key, clocked, first_day=today - timedelta(days=DAYS_BACK)))
    return businesses


@asynccontextmanager
async def _peace(dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application and a projector, here in this process: on these nothing breaks."""
    async with open_service(dsn, RULES) as service:
        stop = asyncio.Event()
        projecting = asyncio.create_task(run_projector(service, dsn, stop))
        transport = httpx.ASGITransport(app=serving(service))
        client = httpx.AsyncClient(transport=transport, base_url="http://peace", timeout=SETTLE_SECONDS)
        try:
            async with client:
                yield client
        finally:
            stop.set()
            await projecting


async def _replay(dsn: str) -> list[str]:
    """I10: all read models made anew from the log are what stood there."""
    owner = await connect_owner(dsn)
    try:
        return [f"I10 the replay differs: {difference}" for difference in await rebuild(owner, lambda *_: None)]
    finally:
        await owner.close()


async def _furnish(client: httpx.AsyncClient, businesses: list[Business], plan: Plan, dice: Random) -> None:
    for business in businesses:
        await business.open(client, "87600h" if business.tenant_id == "slow" else "0s")
        for number in range(plan.customers):
            await business.welcome(client, f"{business.tenant_id}-{number}", dice)


async def _break_forked(round_: Round, dsn: str, plan: Plan, clients: Clients, home: Path) -> None:
    """Two services, each behind a proxy of its own; who kills the database also starts it again."""
    rules: dict[str, Any] = msgspec.to_builtins(RULES)
    async with AsyncExitStack() as stack:
        for place, faults in enumerate(round_.schedule.faults):
            proxy = await stack.enter_async_context(Proxy(dsn, round_.dice))
            round_.proxies.append(proxy)
            service = forked(f"service-{place}", proxy.dsn, rules, faults, round_.schedule.seed, home)
            round_.services.append(await stack.enter_async_context(service))
        await _under_load(round_, dsn, plan, clients)


async def _break_supervised(round_: Round, dsn: str, plan: Plan, clients: Clients, home: Path) -> None:
    """The first service holds the embedded database and starts it again by itself; the second comes by a proxy."""
    round_.tends = False
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(dsn, round_.dice))
        round_.proxies = [proxy, proxy]
        addresses = (["--data", str(home / "data")], ["--database-url", proxy.dsn])
        for place, (address, faults) in enumerate(zip(addresses, round_.schedule.faults, strict=True)):
            service = supervised(f"service-{place}", address, faults, round_.schedule.seed, home)
            round_.services.append(await stack.enter_async_context(service))
        await _under_load(round_, dsn, plan, clients)


async def _under_load(round_: Round, dsn: str, plan: Plan, clients: Clients) -> None:
    clients.urls = [service.url for service in round_.services]
    for service in round_.services:
        await round_._serves_again(service, clients.businesses[0], clients.evidence, time.monotonic())
    loading = asyncio.create_task(clients.run(plan.pause_seconds))
    async with asyncio.TaskGroup() as tasks:
        for place in range(len(round_.schedule.breaks)):
            business = clients.businesses[place % 2]
            tasks.create_task(round_.break_things(place, dsn, business, clients.evidence))
        await asyncio.wait([loading], timeout=plan.seconds)
        ends_at = time.monotonic() + STORM_SECONDS
        while not loading.done() and not plan.enough(_counted(round_)) and time.monotonic() < ends_at:
            await asyncio.wait([loading], timeout=PROBE_SECONDS)
        round_.stop.set()
    clients.stop.set()
    await loading


def _counted(round_: Round) -> Outcome:
    """The outcome with what was broken until now."""
    outcome = round_.outcome
    killed, points = Counter[str](), Counter[str]()
    for service in round_.services:
        killed.update(service.killed)
        points.update(service.faults())
    outcome.killed, outcome.fault_points = dict(killed), dict(points)
    outcome.ended_with_an_error = sum(service.ended for service in round_.services)
    proxies = set(round_.proxies)
    outcome.cuts = sum(proxy.cuts for proxy in proxies)
    outcome.cuts_in_copy = sum(proxy.cuts_in_copy for proxy in proxies)
    server = round_.server
    assert server is not None
    outcome.filled_disks, outcome.killed_servers = server.filled_disks, server.killed_whole
    outcome.killed_backends = server.killed_backends
    return outcome

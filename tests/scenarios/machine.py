"""The service as a Hypothesis machine drives it: synchronous calls, crashes on demand, and what must always hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest

from app import ingesting, voiding
from app.commands import open_service
from app.crediting import account_view
from app.database import connect_owner
from app.event_log import Receipt
from app.keys import create_key, system_caller
from app.reading_log import reading
from app.service import Caller, Service
from app.transaction import Transaction
from domain import chain, credit_ledger, settlement
from domain.chain import GENESIS
from projections.log_reader import commits_after, head, retractions_after
from projections.quantities import project_page
from projections.rebuild import Difference, rebuild
from tests.app.log_rows import MANY, root_of_domain, root_of_usage
from tests.conftest import RULES, Api, MovingClock, serving
from tests.scenarios.over_http import OverHttp
from tests.scenarios.story import Refused

Answer = TypeVar("Answer")
BEFORE = datetime(2026, 1, 1, tzinfo=UTC)


class Crash(Exception):
    """The process dies with its transaction open."""


@asynccontextmanager
async def opened_api(service: Service, clock: MovingClock) -> AsyncIterator[Api]:
    """The HTTP application in process, with a tenant of its own."""
    served = serving(service)
    tenant_id = f"t{uuid4().hex[:12]}"
    key_id, secret = await create_key(service, system_caller(tenant_id), scope="write")
    # What a crash leaves is looked at; the answer to a request that died is of no interest.
    transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {secret}"}
    async with Api(transport=transport, base_url="http://test", headers=headers) as client:
        client.service, client.caller, client.clock = service, Caller(tenant_id, key_id, "write", "test"), clock
        yield client


class Plant:
    """One event loop and one pool for all examples of a run."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        opened = self.run(self._open.enter_async_context(open_service(dsn, RULES)))
        self._pool = opened.pool

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait for an answer."""
        return self._runner.run(work)

    def close(self) -> None:
        """Let go of pool and loop."""
        self.run(self._open.aclose())
        self._runner.close()

    def tenant(self) -> Driven:
        """A new tenant."""
        return Driven(self, Service(self._pool, MovingClock(), RULES))

    def rebuilt(self) -> list[Difference]:
        """Where rows that are computed again from the log differ from those that stand there."""

        async def work() -> list[Difference]:
            owner = await connect_owner(self._dsn)
            try:
                return await rebuild(owner, lambda *_: None, swap=True)
            finally:
                await owner.close()

        return self.run(work())


class Projecting(OverHttp):
    """The world over HTTP that projects its own tenant only."""

    async def catch_up(self) -> None:
        async with self.api.service.pool.acquire() as connection:
            while await project_page(connection, self.api.caller.tenant_id):
                pass


class Driven:
    """One tenant, driven synchronously."""

    def __init__(self, plant: Plant, service: Service) -> None:
        assert isinstance(service.clock, MovingClock)
        service.clock.now = BEFORE
        self._plant = plant
        self._service = service
        self._open = AsyncExitStack()
        self.api = plant.run(self._open.enter_async_context(opened_api(service, service.clock)))
        self.world = Projecting(self.api)
        self._verified = (0, GENESIS)

    def do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Carry out a step of the world."""
        return self._plant.run(work)

    def refusal(self, work: Coroutine[Any, Any, Any]) -> str | None:
        """The code with which a step is refused, or ``None`` when it is carried out."""
        try:
            self.do(work)
        except Refused as refused:
            return refused.code
        return None

    def close(self) -> None:
        """Let go of the client."""
        self.do(self._open.aclose())

    def head(self) -> Any:
        """Where the log ends."""
        return self.do(head(self._service.pool, self.api.caller.tenant_id))

    def broken_commits(self) -> list[int]:
        """The first positions of commits since the last look that do not fit the chain or their own events."""

        async def work() -> list[int]:
            service, tenant_id, broken = self._service, self.api.caller.tenant_id, list[int]()
            position, digest = self._verified
            for stored in await commits_after(service.pool, tenant_id, position, limit=MANY):
                commit = stored.commit
                if commit.kind == "usage":
                    root = await root_of_usage(service, tenant_id, stored.batch, commit)
                elif commit.kind == "retraction":
                    rows = await retractions_after(
                        service.pool, tenant_id, commit.first_position - 1, up_to=commit.last_position, limit=MANY
                    )
                    root = chain.root_of(chain.canonical_retraction(row.event_id, row.reason) for row in rows)
                else:
                    root = await root_of_domain(service, tenant_id, stored.batch, commit)
                fits = commit.first_position == position + 1 and commit.digest == chain.digest_of(digest, commit)
                if not fits or commit.root != root:
                    broken.append(commit.first_position)
                position, digest = commit.last_position, commit.digest
            self._verified = (position, digest)
            return broken

        return self.do(work())

    def account(self, credits: str, customer: str) -> tuple[Decimal, list[str]]:
        """The customer's balance of a kind of credits, and what is wrong with its ledger."""

        async def work() -> tuple[Decimal, list[str]]:
            await self.world.catch_up()
            async with reading(self._service, self.api.caller) as known:
                view = await account_view(known, self.world.ids[credits], customer)
                found = settlement.balance(view.settlement, view.at).credits
                return found, credit_ledger.check(view.account, view.settlement, view.at)

        return self.do(work())


@contextmanager
def crashing(after: int = 0) -> Iterator[None]:
    """Every transaction that appends something dies just before it commits, ``after`` so many that do not."""
    append, left = Transaction.append, after
    append_usage, append_retraction = ingesting.append_usage, voiding.append_retraction

    async def append_and_die(self: Transaction, command: str) -> Any:
        nonlocal left
        commit = await append(self, command)
        if commit is None or left:
            left -= commit is not None
            return commit
        raise Crash

    async def append_usage_and_die(connection: Any, *given: Any) -> list[Receipt]:
        async with connection.transaction():
            await append_usage(connection, *given)
            raise Crash

    async def append_retraction_and_die(*given: Any) -> None:
        await append_retraction(*given)
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transaction, "append", append_and_die)
        patch.setattr(ingesting, "append_usage", append_usage_and_die)
        patch.setattr(voiding, "append_retraction", append_retraction_and_die)
        yield

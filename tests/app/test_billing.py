"""Closing cycles in the real database: once, gapless, exact, and equal to the estimate."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from asyncpg import Pool, Record
from hypothesis import given, settings
from hypothesis import strategies as st

from app import billing
from app.database import open_pool
from app.keys import create_key, system_caller
from app.service import Caller, Service
from app.subscribing import Change, change_subscription
from app.transaction import Transaction, transaction
from domain.errors import Conflict
from domain.invoice import Document
from domain.meter import Meter
from domain.price import MeterPrice
from domain.product import Product
from domain.rating import LineKind
from domain.subscription_events import Status
from projections.log_reader import SQL as LOG
from projections.log_reader import head
from tests.app.shop import APRIL, MARCH, MAY, MICROSECOND, Shop, price_of
from tests.conftest import RULES, MovingClock


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    opened = Shop(service, caller)
    await opened.open()
    await opened.customer()
    return opened


def usage_line(document: Document, meter_id: str = "calls") -> tuple[str, str, int]:
    """Consumed, paid and amount of the meter's line."""
    (line,) = [line for line in document.lines if line.meter_id == meter_id]
    return line.consumed_units, line.paid_units, line.amount


def encoded(document: Document) -> bytes:
    return msgspec.json.encode(document)


async def test_eight_closes_of_one_cycle_give_one_invoice(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    await shop.use(*[MARCH + timedelta(days=1, seconds=number) for number in range(7)])
    clock.advance(days=30)
    async with asyncio.timeout(30):
        closed = await asyncio.gather(*(shop.close(subscription_id, MARCH) for _ in range(8)))
    assert len({encoded(document) for document in closed}) == 1
    assert usage_line(closed[0]) == ("7", "5", 3)
    (stored,) = await shop.stored_invoices()
    assert stored["document"].encode() == encoded(closed[0])
    assert await shop.numbers_given() == 1
    assert encoded(await shop.close(subscription_id, MARCH)) == encoded(closed[0])


async def test_eight_subscriptions_closed_at_once_get_numbers_without_a_gap(shop: Shop, clock: MovingClock) -> None:
    subscription_ids = [await shop.subscribe() for _ in range(8)]
    clock.advance(days=30)
    async with asyncio.timeout(30):
        closed = await asyncio.gather(*map(shop.close, subscription_ids))
    assert sorted(document.number or "" for document in closed) == [f"INV-{number:06d}" for number in range(1, 9)]
    assert {document.subscription_id for document in closed} == set(subscription_ids)
    # Each was computed from a log prefix of its own: two invoices never share a commit.
    assert len({document.position for document in closed}) == 8
    in_order = sorted(closed, key=lambda document: document.position)
    assert [document.number for document in in_order] == sorted(document.number or "" for document in closed)


async def test_runs_of_close_due_share_the_work(shop: Shop, clock: MovingClock) -> None:
    subscription_ids = [await shop.subscribe() for _ in range(4)]
    clock.advance(days=60)  # 9 May: March and April are due.
    async with asyncio.timeout(30):
        runs = await asyncio.gather(*(shop.close_due() for _ in range(4)))
    closed = [document for run in runs for document in run]
    cycles = {(document.subscription_id, document.cycle_start[:10]) for document in closed}
    assert cycles == {(one, start) for one in subscription_ids for start in ("2026-03-01", "2026-04-01")}
    assert len(closed) == 8
    assert [row["number"] for row in await shop.stored_invoices()] == [f"INV-{number:06d}" for number in range(1, 9)]
    assert await shop.close_due() == []


async def test_an_invoice_holds_exactly_the_usage_up_to_its_position(shop: Shop, clock: MovingClock) -> None:
    """Ingest races the close; nothing before the invoice's position is missing, nothing after it is in."""
    subscription_id = await shop.subscribe()
    clock.now = APRIL + timedelta(minutes=1)
    stop = asyncio.Event()

    async def ingest() -> None:
        while not stop.is_set():
            await shop.use(MARCH, APRIL - MICROSECOND, APRIL, MARCH - MICROSECOND)

    writers = [asyncio.create_task(ingest()) for _ in range(3)]
    while shop.sent < 100:
        await shop.use(MARCH)
    document = await shop.close(subscription_id)
    while shop.sent < 400:
        await shop.use(MARCH)
    stop.set()
    await asyncio.gather(*writers)
    rows = await shop.service.pool.fetch(
        """select c.first_position + u.ordinal as position, u.timestamp
             from log.usage_event u join log.commit c using (tenant_id, batch)
            where tenant_id = $1""",
        shop.tenant_id,
    )
    inside = [row["position"] for row in rows if MARCH <= row["timestamp"] < APRIL]
    known = [position for position in inside if position <= document.position]
    assert 0 < len(known) < len(inside)
    assert usage_line(document)[0] == str(len(known))
    (commit,) = await shop.service.pool.fetch(LOG["commits_before"], shop.tenant_id, document.position + 1, 1)
    assert (commit["last_position"], commit["digest"].hex()) == (document.position, document.digest)


async def test_a_cycle_is_half_open_to_the_microsecond(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    await shop.use(MARCH - MICROSECOND, MARCH, APRIL - MICROSECOND, APRIL, APRIL, APRIL)
    clock.now = MAY
    assert usage_line(await shop.close(subscription_id))[0] == "2"
    assert usage_line(await shop.close(subscription_id))[0] == "3"


async def test_the_price_version_at_the_cycles_start_applies(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    await shop.use(MARCH, *[MARCH + timedelta(days=1)] * 3, *[APRIL + timedelta(days=1)] * 4)

    async def reprice(effective_at: datetime | None, **changes: Any) -> None:
        async with transaction(shop.service, shop.caller, "product.reprice") as running:
            (await running.get(Product, "api")).reprice(price_of(**changes), effective_at, running.now)

    await reprice(None, fixed_price=700)  # On 10 March: from the cycle of April on.
    await reprice(APRIL + MICROSECOND, fixed_price=900)
    clock.now = MAY + timedelta(days=1)
    march, april = await shop.close(subscription_id), await shop.close(subscription_id)
    assert [line.amount for line in march.lines] == [500, 1]
    assert [line.amount for line in april.lines] == [700, 1]
    # A later version that is in force since the past reaches unclosed cycles only.
    await reprice(MAY, fixed_price=1100)
    await reprice(MARCH, fixed_price=1)
    clock.now = datetime(2026, 6, 1, tzinfo=UTC)
    assert [line.amount for line in (await shop.close(subscription_id)).lines] == [1100, 0]
    assert encoded(await shop.close(subscription_id, MARCH)) == encoded(march)


async def test_cancelling_now_cuts_the_cycle_and_shares_the_fee(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    clock.now = at = datetime(2026, 3, 11, 6, 0, tzinfo=UTC)
    await shop.use(MARCH, MARCH, MARCH, at - MICROSECOND)
    await change_subscription(shop.service, shop.caller, subscription_id, Change(status=Status.cancelled))
    await shop.use(at, at + MICROSECOND)
    expected = await shop.estimate(subscription_id)
    document = await shop.close(subscription_id)
    assert document.lines == expected.lines
    assert (document.cycle_start, document.cycle_end) == ("2026-03-01T00:00:00.000000Z", "2026-03-11T06:00:00.000000Z")
    fixed, usage = document.lines
    share = Fraction((at - MARCH) // MICROSECOND, (APRIL - MARCH) // MICROSECOND)
    assert (fixed.kind, fixed.amount) == (LineKind.proration, round(500 * share)) == (LineKind.proration, 165)
    # The full threshold applies: four calls, two of them free.
    assert (usage.consumed_units, usage.paid_units, usage.amount) == ("4", "2", 1)
    clock.now = MAY + timedelta(days=60)
    with pytest.raises(Conflict, match="no open cycle"):
        await shop.close(subscription_id)
    assert await shop.close_due() == []


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("UTC", "2026-03-01T00:00:00.000000Z", "2026-04-01T00:00:00.000000Z"),
        ("Europe/Berlin", "2026-02-28T23:00:00.000000Z", "2026-03-31T22:00:00.000000Z"),
        ("America/New_York", "2026-03-01T05:00:00.000000Z", "2026-04-01T04:00:00.000000Z"),
        ("Asia/Kolkata", "2026-02-28T18:30:00.000000Z", "2026-03-31T18:30:00.000000Z"),
    ],
)
async def test_a_cycle_follows_the_customers_time_zone(
    shop: Shop, clock: MovingClock, zone: str, start: str, end: str
) -> None:
    await shop.customer("bob", zone)
    subscription_id = await shop.subscribe("bob")
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    await shop.use(first - MICROSECOND, first, last - MICROSECOND, last, customer_id="bob")
    clock.now = last - MICROSECOND
    with pytest.raises(Conflict, match="the cycle ends at"):
        await shop.close(subscription_id)
    clock.now = last
    document = await shop.close(subscription_id)
    assert (document.cycle_start, document.cycle_end) == (start, end)
    assert usage_line(document)[0] == "2"


async def test_close_due_waits_for_the_grace_period(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    due_at = APRIL + RULES.close_grace
    clock.now = due_at - MICROSECOND
    assert await shop.close_due() == []
    clock.now = due_at
    (document,) = await shop.close_due()
    assert (document.subscription_id, document.cycle_start[:10]) == (subscription_id, "2026-03-01")
    assert await shop.close_due() == []


async def test_the_grace_of_a_cycle_from_before_counts_from_the_recording(shop: Shop, clock: MovingClock) -> None:
    recorded_at = clock.now
    await shop.subscribe(anchor=date(2026, 1, 1))
    clock.now = recorded_at + RULES.close_grace - MICROSECOND
    assert await shop.close_due() == []
    clock.now = recorded_at + RULES.close_grace
    assert [document.cycle_start[:10] for document in await shop.close_due()] == ["2026-01-01", "2026-02-01"]


async def test_the_opening_of_a_cycle_does_not_close_another_early(shop: Shop, clock: MovingClock) -> None:
    clock.now = APRIL - timedelta(minutes=10)
    await shop.subscribe(anchor=date(2026, 2, 1))
    # April begins, so the run looks at the subscription; February's grace began with the recording.
    clock.now = APRIL + timedelta(minutes=10)
    assert await shop.close_due() == []
    clock.now = APRIL + timedelta(minutes=50)
    assert [document.cycle_start[:10] for document in await shop.close_due()] == ["2026-02-01"]
    clock.now = APRIL + timedelta(minutes=60)
    assert [document.cycle_start[:10] for document in await shop.close_due()] == ["2026-03-01"]


async def test_a_close_by_hand_needs_no_grace(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    clock.now = APRIL
    assert (await shop.close(subscription_id)).number == "INV-000001"


async def test_closing_late_gives_the_same_lines(shop: Shop, clock: MovingClock) -> None:
    on_time, late = await shop.subscribe(), await shop.subscribe()
    await shop.use(MARCH, MARCH, MARCH)
    clock.now = APRIL
    first = await shop.close(on_time)
    clock.now = MAY + timedelta(days=90)
    await shop.use(clock.now)
    async with transaction(shop.service, shop.caller, "test.describe") as running:
        product = await running.get(Product, "api")
        product.describe("Another name", product.tax_category, None, "{}", running.now)
        meter = await running.get(Meter, "calls")
        meter.describe("Other calls", "ton", None, running.now)
    assert (await shop.close(late, MARCH)).lines == first.lines
    open_cycle = await shop.estimate(late, datetime(2026, 7, 1, tzinfo=UTC))
    assert any(line.description.startswith("Another name: Other calls") for line in open_cycle.lines)


async def test_a_failure_between_number_and_append_leaves_no_gap(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await shop.subscribe(), await shop.subscribe()
    clock.now = APRIL
    before = await head(shop.service.pool, shop.tenant_id)
    given: list[int] = []
    assign = billing.assign_number

    def noting(last: int, invoice_id: str, at: datetime) -> Any:
        number, event = assign(last, invoice_id, at)
        given.append(number)
        return number, event

    async def failing(self: Transaction, command: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(billing, "assign_number", noting)
    with monkeypatch.context() as broken:
        broken.setattr(Transaction, "append", failing)
        with pytest.raises(ZeroDivisionError):
            await shop.close(first)
    assert await head(shop.service.pool, shop.tenant_id) == before
    assert await shop.stored_invoices() == []
    assert [(await shop.close(one)).number for one in (second, first)] == ["INV-000001", "INV-000002"]
    assert given == [1, 1, 2]


async def test_a_failure_after_the_append_leaves_no_gap(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription_id = await shop.subscribe()
    clock.now = APRIL
    append = Transaction.append

    async def append_and_fail(self: Transaction, command: str) -> None:
        assert await append(self, command) is not None
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(Transaction, "append", append_and_fail)
        with pytest.raises(ZeroDivisionError):
            await shop.close(subscription_id)
    assert (await shop.numbers_given(), await shop.stored_invoices()) == (0, [])
    assert (await shop.close(subscription_id)).number == "INV-000001"


# The estimate is the invoice.


@pytest.fixture(scope="module")
async def shared_pool(dsn: str) -> Any:
    async with open_pool(dsn) as pool:
        yield pool


prices = st.decimals(min_value=0, max_value=99_999, places=12)
thresholds = st.one_of(st.just("0"), st.integers(0, 5).map(str), st.just("1.5"))
amounts = st.decimals(min_value=-1000, max_value=1000, places=6)
micros = st.integers(-2 * 86_400_000_000, 33 * 86_400_000_000)


@settings(max_examples=15)
@given(
    fixed=st.integers(0, 10_000),
    unit_price=prices,
    threshold=thresholds,
    batches=st.lists(st.lists(st.tuples(micros, amounts), min_size=1, max_size=8), max_size=4),
)
async def test_estimate_and_invoice_are_equal(
    shared_pool: Pool[Record],
    fixed: int,
    unit_price: Decimal,
    threshold: str,
    batches: list[list[tuple[int, Decimal]]],
) -> None:
    clock = MovingClock()
    service = Service(shared_pool, clock, RULES)
    tenant_id = f"t{uuid4().hex[:12]}"
    key_id, _ = await create_key(service, system_caller(tenant_id), scope="write")
    shop = Shop(service, Caller(tenant_id, key_id, "write", "test"))
    meters = (
        MeterPrice(meter_id="tokens", price_per_unit=format(unit_price, "f"), free_threshold=threshold),
        MeterPrice(meter_id="calls", price_per_unit="0.5"),
    )
    await shop.open(price_of(fixed_price=fixed, meters=meters))
    await shop.customer()
    subscription_id = await shop.subscribe()
    clock.now = APRIL + timedelta(days=3)
    calls = [[(MARCH + at * MICROSECOND, f'{{"n": {value}}}') for at, value in batch] for batch in batches]
    for batch in calls:
        await shop.record(batch)
    expected = await shop.estimate(subscription_id)
    document = await shop.close(subscription_id)
    unlike = {"invoice_id", "number", "digest", "issued_at"}
    for name in Document.__struct_fields__:
        if name not in unlike:
            assert getattr(document, name) == getattr(expected, name), name
    assert {getattr(expected, name) for name in unlike} == {None}
    inside = [value for batch in batches for at, value in batch if MARCH <= MARCH + at * MICROSECOND < APRIL]
    assert document.total_amount == expected_total(fixed, unit_price, threshold, inside)


def expected_total(fixed: int, unit_price: Decimal, threshold: str, values: list[Decimal]) -> int:
    """Section by section with fractions: what is beyond the threshold, each line rounded half away from zero."""
    consumed = sum(map(Fraction, values), Fraction(0))
    paid = max(Fraction(0), consumed - Fraction(threshold))
    return fixed + rounded(paid * Fraction(unit_price)) + rounded(Fraction(len(values), 2))


def rounded(amount: Fraction) -> int:
    """Half away from zero; no amount here is below it."""
    return int(amount + Fraction(1, 2))

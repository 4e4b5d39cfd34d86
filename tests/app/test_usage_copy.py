"""What is packed for COPY arrives in the tables as it was sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.event_log import SQL as APPEND
from app.identity import new_batch
from app.service import Service
from app.usage_copy import usage_copy
from domain import chain, instant
from domain.event import UsageEvent, canonical
from tests.app.log_rows import record_usage, stored, use

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
INSTANTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC))
EVENTS = st.lists(
    st.builds(UsageEvent, TEXT, TEXT, TEXT, INSTANTS, TEXT | st.just("")),
    min_size=1,
    max_size=20,
    unique_by=lambda event: event.event_id,
)


# Each example has a tenant of its own.
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
async def test_every_value_arrives_as_it_was(service: Service, events: list[UsageEvent]) -> None:
    tenant_id = f"t{uuid4().hex}"
    async with service.pool.acquire() as connection:
        await record_usage(connection, tenant_id, events, datetime(2026, 3, 1, tzinfo=UTC))
        originals = await connection.fetch(APPEND["stored_events"], tenant_id, [one.event_id for one in events])
    fields = ("event_id", "event_name", "customer_id", "timestamp", "metadata")
    rows = [UsageEvent(*(row[name] for name in fields)) for _, row in await stored(service, tenant_id)]
    assert rows == events
    assert {UsageEvent(*(row[name] for name in fields)) for row in originals} == set(events)


def test_keys_lie_in_the_order_of_ids() -> None:
    """So two batches that share ids take them in one order. The order is that of UTF-8 bytes, as the index has it."""
    ids = ["b", "a", "\U0001f600", "\uffee", "é", "A", "a\u0300"]
    packed = usage_copy("t", new_batch(), [use(event_id) for event_id in ids]).keys
    places = [packed.index(len(event_id.encode()).to_bytes(4) + event_id.encode()) for event_id in ids]
    assert [ids[index] for index in sorted(range(len(ids)), key=places.__getitem__)] == sorted(ids, key=str.encode)


def test_the_root_covers_the_events_in_array_order() -> None:
    events = [use("b"), use("a", timestamp=datetime(1969, 12, 31, tzinfo=UTC) + timedelta(microseconds=1), metadata="")]
    expected = chain.root_of(
        canonical(
            event.event_id.encode(),
            event.event_name.encode(),
            event.customer_id.encode(),
            instant.micros(event.timestamp or datetime.max),
            event.metadata.encode(),
        )
        for event in events
    )
    assert usage_copy("t", new_batch(), events).root == expected
    assert usage_copy("t", new_batch(), events[::-1]).root != expected

"""What a meter counted, over HTTP: spans, windows, zones, groups, positions, and what could not be measured."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


def at(day: int, hour: int = 0, minute: int = 0) -> str:
    return f"2026-03-{day:02}T{hour:02}:{minute:02}:00Z"


async def summed(api: Any, make: Any, *moments: tuple[str, Any], **more: Any) -> dict[str, Any]:
    """A meter that sums ``n``, over one event per moment, projected."""
    meter = await make.meter(aggregation={"type": "sum", "key": "n"}, **more)
    events = [make.event(index, timestamp=when, metadata={"n": n}) for index, (when, n) in enumerate(moments)]
    answered = await api.ingest(*events)
    assert answered.json()["ingested_count"] == len(events)
    await api.project()
    return meter


async def usage(api: Any, meter: dict[str, Any], **params: Any) -> dict[str, Any]:
    answered = await api.get(f"/meters/{meter['id']}/usage", params=params)
    assert answered.status_code == 200, answered.text
    return answered.json()


async def test_a_span_is_half_open(api: Any, make: Any) -> None:
    meter = await summed(api, make, (at(1), 1), (at(2, 10, 30), "2.50"), (at(3), 4))
    found = await usage(api, meter, start=at(1), end=at(3))
    assert found == {
        "meter_id": meter["id"],
        "quantity": "3.5",
        "items": [],
        "unmeasured_count": 0,
        "position": found["position"],
    }
    assert (await usage(api, meter, start=at(1, 0, 1), end=at(3, 0, 1)))["quantity"] == "6.5"
    assert (await usage(api, meter, start=at(4), end=at(5)))["quantity"] == "0"


async def test_by_default_the_last_30_days(api: Any, make: Any) -> None:
    meter = await summed(
        api, make, ("2026-02-08T11:59:59Z", 1), ("2026-02-08T12:00:00Z", 2), (at(10, 11, 59), 4), (at(10, 12, 1), 8)
    )
    assert (await usage(api, meter))["quantity"] == "6"


async def test_of_one_customer(api: Any, make: Any) -> None:
    meter = await make.meter()
    await api.ingest(make.event(1), make.event(2, customer_id="bob"), make.event(3, customer_id="bob"))
    await api.project()
    assert (await usage(api, meter))["quantity"] == "3"
    assert (await usage(api, meter, customer_id="bob"))["quantity"] == "2"
    assert (await usage(api, meter, customer_id="nobody"))["quantity"] == "0"


async def test_windows_of_days(api: Any, make: Any) -> None:
    meter = await summed(api, make, (at(1, 1), 1), (at(1, 23, 59), 2), (at(3), 4))
    found = await usage(api, meter, start=at(1, 1), end=at(3, 12), window="day")
    assert found["quantity"] == "7"
    assert [(item["start"], item["end"], item["group"], item["quantity"]) for item in found["items"]] == [
        ("2026-03-01T01:00:00.000000Z", "2026-03-02T00:00:00.000000Z", None, "3"),
        ("2026-03-02T00:00:00.000000Z", "2026-03-03T00:00:00.000000Z", None, "0"),
        ("2026-03-03T00:00:00.000000Z", "2026-03-03T12:00:00.000000Z", None, "4"),
    ]


async def test_days_and_months_of_a_time_zone(api: Any, make: Any) -> None:
    # In New York the clocks go forward on 8 March: that day has 23 hours.
    meter = await summed(api, make, (at(8, 4, 59), 1), (at(8, 5), 2), (at(9, 3, 59), 4), (at(9, 4), 8))
    found = await usage(api, meter, start=at(7, 5), end=at(10, 4), window="day", time_zone="America/New_York")
    assert [(item["start"], item["quantity"]) for item in found["items"]] == [
        ("2026-03-07T05:00:00.000000Z", "1"),
        ("2026-03-08T05:00:00.000000Z", "6"),
        ("2026-03-09T04:00:00.000000Z", "8"),
    ]
    found = await usage(
        api, meter, start="2026-02-15T00:00:00Z", end=at(10), window="month", time_zone="America/New_York"
    )
    assert [item["start"] for item in found["items"]] == ["2026-02-15T00:00:00.000000Z", "2026-03-01T05:00:00.000000Z"]


async def test_hours_of_a_zone_that_is_not_whole_hours_away(api: Any, make: Any) -> None:
    meter = await summed(api, make, (at(1, 0, 14), 1), (at(1, 0, 15), 2))
    found = await usage(api, meter, start=at(1), end=at(1, 1), window="hour", time_zone="Asia/Kathmandu")
    assert [(item["start"], item["quantity"]) for item in found["items"]] == [
        ("2026-03-01T00:00:00.000000Z", "1"),
        ("2026-03-01T00:15:00.000000Z", "2"),
    ]


async def test_groups(api: Any, make: Any) -> None:
    meter = await make.meter()
    values: list[dict[str, Any]] = [{"m": "b"}, {"m": "a"}, {"m": "b"}, {"m": 1.50}, {"m": True}, {}]
    await api.ingest(*(make.event(index, metadata=value) for index, value in enumerate(values)))
    await api.project()
    found = await usage(api, meter, group_by="m")
    assert found["quantity"] == "6"
    assert [(item["group"], item["quantity"]) for item in found["items"]] == [
        (None, "1"),
        ("1.5", "1"),
        ("a", "1"),
        ("b", "2"),
        ("true", "1"),
    ]
    windowed = await usage(api, meter, group_by="m", start=at(8), end=at(10), window="day", customer_id="ada")
    assert {item["start"] for item in windowed["items"]} == {"2026-03-09T00:00:00.000000Z"}
    assert sum(int(item["quantity"]) for item in windowed["items"]) == 6


@pytest.mark.parametrize(
    ("kind", "quantity"),
    [("count", "4"), ("sum", "9"), ("max", "4"), ("min", "1"), ("last", "1"), ("avg", "2.25"), ("unique", "3")],
)
async def test_aggregations_over_windows(api: Any, make: Any, kind: str, quantity: str) -> None:
    meter = await make.meter(aggregation={"type": kind, "key": "n"})
    numbers = [3, 4, 1, 1]
    await api.ingest(
        *(make.event(index, timestamp=at(index + 1, 5), metadata={"n": n}) for index, n in enumerate(numbers))
    )
    await api.project()
    whole = await usage(api, meter, start=at(1), end=at(6))
    windowed = await usage(api, meter, start=at(1), end=at(6), window="day")
    # The whole is that of all events, not of its windows: an average or a unique count does not add up.
    assert (whole["quantity"], windowed["quantity"]) == (quantity, quantity)
    assert len(windowed["items"]) == 5


async def test_what_cannot_be_measured_is_told(api: Any, make: Any) -> None:
    meter = await make.meter(aggregation={"type": "sum", "key": "n"})
    answered = await api.ingest(
        make.event(1, metadata={"n": 5}),
        make.event(2, metadata={"n": "five"}),
        make.event(3, metadata={"n": True}),
        make.event(4),
        make.event(5, event_name="other"),
    )
    last = answered.json()["position"]
    await api.project()
    found = await usage(api, meter)
    assert (found["quantity"], found["unmeasured_count"]) == ("5", 3)
    path = f"/meters/{meter['id']}/unmeasured"
    items = (await api.get(path)).json()["items"]
    assert items == [{"event_id": f"call-{number}", "position": last - 5 + number} for number in (4, 3, 2)]
    assert (await api.get(path, params={"page_size": 2, "page_number": 1})).json() == {"items": items[2:]}
    assert (await api.get(path, params={"page_number": 1})).json() == {"items": []}


async def test_at_least_waits_for_the_projection(api: Any, make: Any) -> None:
    meter = await make.meter()
    position = (await api.ingest(make.event(1))).json()["position"]
    asked = asyncio.create_task(usage(api, meter, at_least=position))
    await api.project()
    found = await asked
    assert (found["quantity"], found["position"] >= position) == ("1", True)


async def test_an_archived_meter_does_not_count_what_is_recorded_meanwhile(api: Any, make: Any) -> None:
    meter = await make.meter()
    await api.ingest(make.event(1))
    await api.delete(f"/meters/{meter['id']}")
    await api.ingest(make.event(2))
    await api.post(f"/meters/{meter['id']}/unarchive")
    await api.ingest(make.event(3))
    await api.project()
    assert (await usage(api, meter))["quantity"] == "2"


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"start": at(2), "end": at(2)}, "end"),
        ({"start": at(3), "end": at(2)}, "end"),
        ({"start": "2026-03-01"}, "start"),
        ({"window": "week"}, "window"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"start": "2020-01-01T00:00:00Z", "end": at(1), "window": "hour"}, "window"),
        ({"start": "9999-12-01T00:00:00Z", "end": "9999-12-31T23:00:00Z", "window": "month"}, "window"),
        ({"at_least": -1}, "at_least"),
    ],
)
async def test_a_broken_rule_names_its_field(api: Any, make: Any, params: dict[str, Any], named: str) -> None:
    meter = await make.meter()
    await api.project()
    answered = await api.get(f"/meters/{meter['id']}/usage", params=params)
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert named in answered.json()["message"]


async def test_usage_history(api: Any, make: Any) -> None:
    made = await make.everything()
    path = f"/subscriptions/{made['subscription_id']}/usage-history"
    await api.ingest(*(make.event(number) for number in range(7)))
    api.clock.advance(days=30)
    await api.ingest(make.event(7, timestamp="2026-04-01T00:00:00Z"))
    await api.project()
    answered = await api.get(path)
    assert answered.status_code == 200
    april, march = answered.json()["items"]
    assert (april["start_date"], april["end_date"]) == ("2026-04-01T00:00:00.000000Z", "2026-05-01T00:00:00.000000Z")
    assert march == {
        "start_date": "2026-03-01T00:00:00.000000Z",
        "end_date": "2026-04-01T00:00:00.000000Z",
        "meters": [
            {
                "id": made["meter_id"],
                "name": "Calls",
                "currency": "USD",
                "consumed_units": "7",
                "free_threshold": 2,
                "chargeable_units": "5",
                "price_per_unit": "0.5",
                "total_price": 3,
            }
        ],
    }
    assert april["meters"][0]["consumed_units"] == "1"
    assert (april["meters"][0]["chargeable_units"], april["meters"][0]["total_price"]) == ("0", 0)
    # A closed cycle says the same as the open one did.
    assert (await api.post(f"/subscriptions/{made['subscription_id']}/close-cycle")).status_code == 200
    await api.project()
    assert (await api.get(path)).json()["items"] == [april, march]
    for params, expected in (
        ({"page_size": 1}, [april]),
        ({"page_size": 1, "page_number": 1}, [march]),
        ({"page_number": 1}, []),
        ({"end_date": "2026-03-31T00:00:00Z"}, [march]),
        ({"start_date": "2026-04-01T00:00:00Z"}, [april]),
        ({"meter_id": made["meter_id"]}, [april, march]),
    ):
        assert (await api.get(path, params=params)).json() == {"items": expected}, params
    assert (await api.get(path, params={"page_size": 101})).status_code == 422
    unknown = await api.get(path, params={"meter_id": "mtr_none"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "METER_NOT_FOUND")
    other = await make.meter()
    await api.project()
    unused = (await api.get(path, params={"meter_id": other["id"]})).json()["items"]
    assert [period["meters"] for period in unused] == [[], []]


async def test_the_history_of_a_closed_cycle_is_as_invoiced(api: Any, make: Any) -> None:
    """A later price version with an effective time in the past does not touch what is closed."""
    made = await make.everything()
    path = f"/subscriptions/{made['subscription_id']}"
    await api.ingest(*(make.event(number) for number in range(7)))
    api.clock.advance(days=30)
    assert (await api.post(f"{path}/close-cycle")).status_code == 200
    await api.project()
    before = (await api.get(f"{path}/usage-history")).json()["items"][-1]
    for meters in ([{"meter_id": made["meter_id"], "price_per_unit": "9", "free_threshold": 100}], []):
        repriced = await api.patch(
            f"/products/{made['product_id']}",
            json={"price": {**make.price, "meters": meters}, "effective_at": "2026-01-01T00:00:00Z"},
        )
        assert repriced.status_code == 200
        await api.project()
        assert (await api.get(f"{path}/usage-history")).json()["items"][-1] == before


@pytest.mark.parametrize("group_by", [None, "n"])
async def test_the_last_hour_of_the_calendar(api: Any, make: Any, group_by: str | None) -> None:
    meter = await summed(api, make, (at(9), 1))
    late = {"group_by": group_by} if group_by else {}
    found = await usage(api, meter, start="9999-12-31T20:30:00Z", end="9999-12-31T23:30:00Z", **late)
    assert (found["quantity"], found["items"]) == ("0", [])
    assert (await usage(api, meter, start=at(8, 23, 30), end="9999-12-31T23:59:59.999999Z", **late))["quantity"] == "1"

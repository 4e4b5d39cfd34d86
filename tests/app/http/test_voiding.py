"""Retracting events over HTTP: what is refused, what is answered, and what it does to usage."""

from __future__ import annotations

from typing import Any

import pytest


async def void(api: Any, *event_ids: str, **more: Any) -> dict[str, Any]:
    answered = await api.post("/events/void", json={"event_ids": list(event_ids), **more})
    assert answered.status_code == 200, answered.text
    return answered.json()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "event_ids"),
        ({"event_ids": []}, "event_ids"),
        ({"event_ids": "call-1"}, "event_ids"),
        ({"event_ids": [f"e{number}" for number in range(1_001)]}, "event_ids"),
        ({"event_ids": ["call-1", ""]}, "event_ids[1]"),
        ({"event_ids": ["x" * 513]}, "event_ids[0]"),
        ({"event_ids": [7]}, "event_ids[0]"),
        ({"event_ids": ["call-1", "a\0b"]}, "event_ids[1]"),
        ({"event_ids": ["call-1"], "reason": "x" * 501}, "reason"),
        ({"event_ids": ["call-1"], "reason": 1}, "reason"),
        ({"event_ids": ["call-1"], "reasons": "x"}, "reasons"),
        ({"event_ids": ["call-1"], "meter_id": "mtr_1"}, "meter_id"),
    ],
)
async def test_what_is_no_request_is_refused_and_retracts_nothing(api: Any, make: Any, body: Any, named: str) -> None:
    await api.ingest(make.event(1))
    answered = await api.post("/events/void", json=body)
    assert answered.status_code == 422, answered.text
    assert named in answered.json()["message"]
    assert (await api.get("/events/call-1")).json()["voided_at"] is None


@pytest.mark.parametrize(("scope", "status"), [("ingest", 403), ("read", 403), ("write", 200)])
async def test_retracting_takes_a_key_that_may_write(open_client: Any, scope: str, status: int) -> None:
    client = await open_client(scope=scope)
    assert (await client.post("/events/void", json={"event_ids": ["a"]})).status_code == status


async def test_the_events_of_another_tenant_are_not_found(api: Any, make: Any, stranger: Any) -> None:
    await api.ingest(make.event(1))
    answered = await stranger.post("/events/void", json={"event_ids": ["call-1"]})
    assert (answered.json()["voided_count"], answered.json()["not_found"]) == (0, ["call-1"])
    assert (await api.get("/events/call-1")).json()["voided_at"] is None


async def test_the_answer_and_the_events_tell_what_was_retracted(api: Any, make: Any) -> None:
    last = (await api.ingest(make.event(1), make.event(2))).json()["position"]
    api.clock.advance(minutes=1)
    assert await void(api, "call-2", "none", reason="sent by a test run") == {
        "voided_count": 1,
        "already_voided": [],
        "not_found": ["none"],
        "position": last + 1,
    }
    api.clock.advance(minutes=1)
    assert await void(api, "call-1", "call-2", reason=None) == {
        "voided_count": 1,
        "already_voided": ["call-2"],
        "not_found": [],
        "position": last + 2,
    }
    first, second = "2026-03-10T12:02:00.000000Z", "2026-03-10T12:01:00.000000Z"
    for params in ({}, {"customer_id": "ada"}):
        items = (await api.get("/events", params=params)).json()["items"]
        assert [(item["event_id"], item["voided_at"]) for item in items] == [("call-2", second), ("call-1", first)]
    event = (await api.get("/events/call-1")).json()
    assert (event["voided_at"], event["position"]) == (first, last - 1)
    (commit, *_) = (await api.get("/log/commits")).json()["items"]
    assert (commit["kind"], commit["origin"]["command"], commit["origin"]["key_id"]) == (
        "retraction",
        "events.void",
        api.caller.key_id,
    )


async def test_a_resend_of_a_voided_event_is_a_duplicate_and_stays_voided(api: Any, make: Any) -> None:
    meter = await make.meter()
    await api.ingest(make.event(1), make.event(2))
    position = (await void(api, "call-1"))["position"]
    resent = (await api.ingest(make.event(1))).json()
    assert (resent["ingested_count"], resent["duplicate_count"], resent["position"]) == (0, 1, position)
    await api.project()
    asked = {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z", "at_least": position}
    usage = (await api.get(f"/meters/{meter['id']}/usage", params=asked)).json()
    assert (usage["quantity"], usage["position"]) == ("1", position)


async def test_usage_groups_and_the_unmeasured_leave_out_what_was_retracted(api: Any, make: Any) -> None:
    meter = await make.meter(aggregation={"type": "sum", "key": "n"})
    values = [{"n": 1, "region": "eu"}, {"n": 2, "region": "us"}, {"region": "us"}, {"n": 4, "region": "us"}]
    await api.ingest(*(make.event(number, metadata=value) for number, value in enumerate(values)))
    await api.project()
    await void(api, "call-2", "call-3")
    await api.project()
    # The hour that the end cuts is read event by event.
    for end in ("2026-03-10T00:00:00Z", "2026-03-09T12:00:00.000001Z"):
        asked = {"start": "2026-03-01T00:00:00Z", "end": end}
        usage = (await api.get(f"/meters/{meter['id']}/usage", params=asked)).json()
        assert (usage["quantity"], usage["unmeasured_count"]) == ("3", 0)
        grouped = (await api.get(f"/meters/{meter['id']}/usage", params={**asked, "group_by": "region"})).json()
        assert [(item["group"], item["quantity"]) for item in grouped["items"]] == [("eu", "1"), ("us", "2")]
    assert (await api.get(f"/meters/{meter['id']}/unmeasured")).json() == {"items": []}


async def test_a_meter_that_is_made_later_leaves_it_out_too(api: Any, make: Any) -> None:
    await api.ingest(make.event(1), make.event(2))
    await void(api, "call-1")
    meter = await make.meter()
    await api.project()
    asked = {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"}
    assert (await api.get(f"/meters/{meter['id']}/usage", params=asked)).json()["quantity"] == "1"


async def test_an_event_may_be_called_as_the_route(api: Any, make: Any) -> None:
    await api.ingest(make.event(1, event_id="void"))
    await void(api, "void")
    assert (await api.get("/events/void")).json()["voided_at"] is not None

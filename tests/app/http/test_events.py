"""Usage events over HTTP: ingest, read, rejected."""

from __future__ import annotations

import gzip
import json
from typing import Any
from urllib.parse import quote

import pytest
import zstandard

NDJSON = {"Content-Type": "application/x-ndjson"}


async def test_ingest_answers_what_became_of_the_batch(api: Any, make: Any) -> None:
    answered = await api.ingest(make.event(1), make.event(2))
    assert answered.status_code == 200
    body = answered.json()
    assert body["position"] >= 2
    assert body == {
        "ingested_count": 2,
        "duplicate_count": 0,
        "conflicts": [],
        "position": body["position"],
        "errors": [],
    }


async def test_a_resent_event_counts_once(api: Any, make: Any) -> None:
    first = (await api.ingest(make.event(1), make.event(2))).json()
    again = (await api.ingest(make.event(1), make.event(2), make.event(3))).json()
    assert (again["ingested_count"], again["duplicate_count"], again["conflicts"]) == (1, 2, [])
    assert again["position"] == first["position"] + 1
    inside = (await api.ingest(make.event(4), make.event(4))).json()
    assert (inside["ingested_count"], inside["duplicate_count"]) == (1, 1)
    assert len((await api.get("/events")).json()["items"]) == 4


async def test_a_used_id_with_other_content_is_a_conflict_that_stays_readable(api: Any, make: Any) -> None:
    await api.ingest(make.event(1))
    body = (await api.ingest(make.event(1, customer_id="bob"), make.event(2))).json()
    assert (body["ingested_count"], body["duplicate_count"], body["conflicts"]) == (1, 0, ["call-1"])
    assert (await api.get("/events/call-1")).json()["customer_id"] == "ada"
    (rejected,) = (await api.get("/events/rejected", params={"reason": "conflict"})).json()["items"]
    assert (rejected["event_id"], rejected["reason"]) == ("call-1", "conflict")
    assert json.loads(rejected["event"])["customer_id"] == "bob"
    assert (await api.get("/events/rejected", params={"reason": "invalid"})).json() == {"items": []}


async def test_every_problem_of_every_bad_event_is_told_and_nothing_is_stored(api: Any, make: Any) -> None:
    answered = await api.ingest(
        make.event(1),
        make.event(2, event_id="", timestamp="yesterday"),
        make.event(3, metadata={"a": "x" * 501}),
        make.event(4),
    )
    assert answered.status_code == 400
    body = answered.json()
    assert set(body) == {"code", "message", "errors"}
    assert [(item["index"], item["event_id"], item["field"], item["code"]) for item in body["errors"]] == [
        (1, None, "event_id", "EMPTY_FIELD"),
        (1, None, "timestamp", "INVALID_TIMESTAMP"),
        (2, "call-3", "metadata.a", "TOO_LONG"),
    ]
    assert all(item["message"].startswith(item["field"]) for item in body["errors"])
    assert body["code"] == "EMPTY_FIELD"
    assert body["message"] == f"event 1: {body['errors'][0]['message']}"
    assert (await api.get("/events")).json() == {"items": []}
    assert (await api.get("/events/rejected")).json() == {"items": []}


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"event_id": 5}, "INVALID_TYPE"),
        ({"customer_id": None}, "INVALID_TYPE"),
        ({"metadata": {"a": [1]}}, "INVALID_TYPE"),
        ({"metadata": "text"}, "INVALID_TYPE"),
        ({"timestamp": 1_700_000_000}, "INVALID_TYPE"),
    ],
)
async def test_an_event_of_another_shape_is_422(api: Any, make: Any, event: dict[str, Any], code: str) -> None:
    answered = await api.ingest(make.event(1, **event))
    assert (answered.status_code, answered.json()["code"]) == (422, code)


@pytest.mark.parametrize("field", ["event_id", "customer_id", "event_name"])
async def test_the_required_fields(api: Any, make: Any, field: str) -> None:
    event = make.event(1)
    del event[field]
    answered = await api.ingest(event)
    assert (answered.status_code, answered.json()["code"]) == (422, "MISSING_FIELD")
    (error,) = answered.json()["errors"]
    assert (error["index"], error["field"]) == (0, field)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "MALFORMED_JSON"),
        (b"{}", 422, "MISSING_FIELD"),
        (b'{"events": {}}', 422, "INVALID_TYPE"),
        (b'{"events": []}', 400, "EMPTY_BATCH"),
        (b'{"events": [', 422, "MALFORMED_JSON"),
    ],
)
async def test_a_body_that_is_no_batch(api: Any, content: bytes, status: int, code: str) -> None:
    answered = await api.post("/events/ingest", content=content)
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    assert set(answered.json()) == {"code", "message"}


async def test_a_json_body_holds_a_thousand_events_and_no_more(api: Any, make: Any) -> None:
    full = await api.ingest(*(make.event(number) for number in range(1_000)))
    assert full.json()["ingested_count"] == 1_000
    over = await api.ingest(*(make.event(number) for number in range(1_001)))
    assert (over.status_code, over.json()["code"]) == (400, "TOO_MANY_EVENTS")


async def test_ndjson_holds_ten_thousand_events_and_no_more(api: Any, make: Any) -> None:
    lines = [json.dumps(make.event(number)) for number in range(10_001)]
    over = await api.post("/events/ingest", content="\n".join(lines), headers=NDJSON)
    assert (over.status_code, over.json()["code"]) == (400, "TOO_MANY_EVENTS")
    assert (await api.get("/events")).json() == {"items": []}
    full = await api.post("/events/ingest", content="\n".join(lines[:10_000]) + "\n", headers=NDJSON)
    assert full.json()["ingested_count"] == 10_000


async def test_a_broken_line_of_ndjson_is_the_problem_of_its_event(api: Any, make: Any) -> None:
    content = "\n".join([json.dumps(make.event(1)), "", '{"event_id": ', json.dumps(make.event(2))])
    answered = await api.post("/events/ingest", content=content, headers=NDJSON)
    assert answered.status_code == 422
    assert [(item["index"], item["field"], item["code"]) for item in answered.json()["errors"]] == [
        (1, "event", "MALFORMED_JSON")
    ]


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("zstd", zstandard.ZstdCompressor().compress), ("identity", bytes)],
)
@pytest.mark.parametrize("ndjson", [False, True])
async def test_packed_bodies(api: Any, make: Any, encoding: str, pack: Any, ndjson: bool) -> None:
    events = [make.event(number) for number in range(50)]
    text = "\n".join(map(json.dumps, events)) if ndjson else json.dumps({"events": events})
    headers = {"Content-Encoding": encoding, "Content-Type": "application/x-ndjson" if ndjson else "application/json"}
    answered = await api.post("/events/ingest", content=pack(text.encode()), headers=headers)
    assert (answered.status_code, answered.json()["ingested_count"]) == (200, 50)


async def test_skipping_bad_events(api: Any, make: Any) -> None:
    answered = await api.ingest(
        make.event(1),
        make.event(2, timestamp="yesterday", note="\u0000 is not kept as it is"),
        make.event(3, timestamp="2020-01-01T00:00:00Z"),
        make.event(4),
        on_invalid="skip",
    )
    assert answered.status_code == 200
    body = answered.json()
    assert body["ingested_count"] == 2
    assert [(item["index"], item["event_id"], item["code"]) for item in body["errors"]] == [
        (1, "call-2", "INVALID_TIMESTAMP"),
        (2, "call-3", "TIMESTAMP_TOO_OLD"),
    ]
    kept = (await api.get("/events/rejected")).json()["items"]
    assert [(item["event_id"], item["reason"]) for item in kept] == [("call-2", "invalid"), ("call-3", "invalid")]
    assert kept[0]["errors"] == [body["errors"][0]]
    assert json.loads(kept[0]["event"])["timestamp"] == "yesterday"
    assert json.loads(kept[1]["event"])["customer_id"] == "ada"
    assert kept[0]["recorded_at"] == "2026-03-10T12:00:00.000000Z"
    one = (await api.get("/events/rejected", params={"event_id": "call-3"})).json()["items"]
    assert one == kept[1:]
    assert (await api.get("/events/rejected", params={"page_number": 1, "page_size": 1})).json()["items"] == kept[1:]


async def test_skipping_a_batch_without_one_good_event(api: Any, make: Any) -> None:
    position = (await api.ingest(make.event(1))).json()["position"]
    body = (await api.ingest(make.event(2, event_id=""), on_invalid="skip")).json()
    assert (body["ingested_count"], body["position"], len(body["errors"])) == (0, position, 1)
    assert len((await api.get("/events/rejected")).json()["items"]) == 1


async def test_on_invalid_is_refuse_or_skip(api: Any, make: Any) -> None:
    answered = await api.ingest(make.event(1), on_invalid="ignore")
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert (await api.get("/events")).json() == {"items": []}


@pytest.mark.parametrize(
    ("timestamp", "code"),
    [
        ("2026-03-10T12:05:00Z", None),
        ("2026-03-10T12:05:00.000001Z", "TIMESTAMP_TOO_NEW"),
        ("2026-02-03T12:00:00Z", None),
        ("2026-02-03T11:59:59.999999Z", "TIMESTAMP_TOO_OLD"),
    ],
)
async def test_the_accepted_window(api: Any, make: Any, timestamp: str, code: str | None) -> None:
    answered = await api.ingest(make.event(1, timestamp=timestamp))
    if code is None:
        assert answered.json()["ingested_count"] == 1
    else:
        assert answered.status_code == 400
        assert [(error["field"], error["code"]) for error in answered.json()["errors"]] == [("timestamp", code)]


async def test_the_tenant_can_move_and_remove_the_window(api: Any, make: Any) -> None:
    await api.patch("/settings", json={"event_age_max": "1h", "event_ahead_max": "0s"})
    old = await api.ingest(make.event(1))
    assert old.json()["code"] == "TIMESTAMP_TOO_OLD"
    ahead = await api.ingest(make.event(1, timestamp="2026-03-10T12:00:01Z"))
    assert ahead.json()["code"] == "TIMESTAMP_TOO_NEW"
    await api.patch("/settings", json={"event_age_max": "none", "event_ahead_max": "none"})
    answered = await api.ingest(
        make.event(1, timestamp="1999-01-01T00:00:00Z"), make.event(2, timestamp="2099-01-01T00:00:00+01:00")
    )
    assert answered.json()["ingested_count"] == 2


async def test_an_event_as_it_was_recorded(api: Any, make: Any) -> None:
    text = (
        '{"events": [{"event_id": "a/b", "customer_id": "ada", "event_name": "api.call", '
        '"timestamp": "2026-03-10T13:00:00.5+01:00", "metadata": {"n": 12345678901234567890.10, "t": "é"}}]}'
    )
    position = (await api.post("/events/ingest", content=text.encode())).json()["position"]
    answered = await api.get("/events/a%2Fb")
    assert answered.status_code == 200
    assert answered.json() | {"metadata": None} == {
        "event_id": "a/b",
        "business_id": api.caller.tenant_id,
        "customer_id": "ada",
        "event_name": "api.call",
        "timestamp": "2026-03-10T12:00:00.500000Z",
        "metadata": None,
        "position": position,
        "voided_at": None,
    }
    # Digit by digit: no reader of ours passed it through a float.
    assert '"n": 12345678901234567890.10' in answered.text


async def test_an_event_without_time_and_metadata(api: Any) -> None:
    await api.ingest({"event_id": "x", "customer_id": "ada", "event_name": "api.call", "metadata": None})
    event = (await api.get("/events/x")).json()
    assert (event["timestamp"], event["metadata"]) == ("2026-03-10T12:00:00.000000Z", {})


@pytest.mark.parametrize(
    "event_id", ["a/b", "rejected", "a b", "a+b", "a%2Fb", "é\U0001f600", "../meters", "?x=1", "#", "ingest", "a\nb"]
)
async def test_any_event_id_can_be_read(api: Any, make: Any, event_id: str) -> None:
    await api.ingest(make.event(1, event_id=event_id))
    # The one id that the address of the rejected events covers can still be written in another way.
    path = "%72ejected" if event_id == "rejected" else quote(event_id, safe="")
    assert (await api.get(f"/events/{path}")).json()["event_id"] == event_id


async def test_an_unknown_event(api: Any) -> None:
    answered = await api.get("/events/none")
    assert (answered.status_code, answered.json()) == (
        404,
        {"code": "EVENT_NOT_FOUND", "message": "there is no event 'none'"},
    )


def ids(answered: Any) -> list[str]:
    assert answered.status_code == 200, answered.text
    assert set(answered.json()) == {"items"}
    return [item["event_id"] for item in answered.json()["items"]]


async def test_listing(api: Any, make: Any) -> None:
    await api.ingest(*(make.event(number, timestamp=f"2026-03-09T12:00:0{number}Z") for number in range(5)))
    await api.ingest(make.event(5, customer_id="bob"), make.event(6, event_name="other"))
    assert ids(await api.get("/events")) == [f"call-{number}" for number in (6, 5, 4, 3, 2, 1, 0)]
    assert ids(await api.get("/events", params={"customer_id": "bob"})) == ["call-5"]
    assert ids(await api.get("/events", params={"event_name": "other"})) == ["call-6"]
    span = {"start": "2026-03-09T12:00:01Z", "end": "2026-03-09T12:00:02Z"}
    assert ids(await api.get("/events", params={**span, "customer_id": "ada"})) == ["call-2", "call-1"]


async def test_pages(api: Any, make: Any) -> None:
    await api.ingest(*(make.event(number) for number in range(25)))
    whole = ids(await api.get("/events", params={"page_size": 1_000}))
    assert len(whole) == 25
    assert ids(await api.get("/events")) == whole[:10]
    assert ids(await api.get("/events", params={"page_number": 0})) == whole[:10]
    assert ids(await api.get("/events", params={"page_number": 2})) == whole[20:]
    assert ids(await api.get("/events", params={"page_number": 3})) == []
    assert ids(await api.get("/events", params={"page_number": 1, "page_size": 1})) == whole[1:2]
    assert (await api.get("/events", params={"page_size": 1_001})).status_code == 422


async def test_listing_by_meter(api: Any, make: Any) -> None:
    condition = {"key": "region", "operator": "equals", "value": "eu"}
    meter = await make.meter(filter={"conjunction": "and", "clauses": [condition]})
    regions = ["eu", "us", "eu", "us", "eu"]
    await api.ingest(*(make.event(number, metadata={"region": region}) for number, region in enumerate(regions)))
    await api.ingest(make.event(9, event_name="other", metadata={"region": "eu"}))
    by_meter = {"meter_id": meter["id"]}
    assert ids(await api.get("/events", params=by_meter)) == ["call-4", "call-2", "call-0"]
    assert ids(await api.get("/events", params={**by_meter, "event_name": "api.call", "page_size": 2})) == [
        "call-4",
        "call-2",
    ]
    assert ids(await api.get("/events", params={**by_meter, "page_size": 2, "page_number": 1})) == ["call-0"]
    assert ids(await api.get("/events", params={**by_meter, "customer_id": "bob"})) == []
    mismatch = await api.get("/events", params={**by_meter, "event_name": "other"})
    assert (mismatch.status_code, mismatch.json()["code"]) == (400, "EVENT_NAME_MISMATCH")
    unknown = await api.get("/events", params={"meter_id": "mtr_none"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "METER_NOT_FOUND")


async def test_another_tenant_sees_nothing(api: Any, make: Any, stranger: Any) -> None:
    meter = await make.meter()
    await api.ingest(make.event(1))
    await api.ingest(make.event(2, event_id=""), on_invalid="skip")
    assert (await stranger.get("/events/call-1")).status_code == 404
    assert ids(await stranger.get("/events")) == []
    assert ids(await stranger.get("/events/rejected")) == []
    assert (await stranger.get("/events", params={"meter_id": meter["id"]})).status_code == 404
    # The same id is free in another tenant.
    assert (await stranger.post("/events/ingest", json={"events": [make.event(1)]})).json()["ingested_count"] == 1


@pytest.mark.parametrize(("scope", "sends", "reads"), [("ingest", 200, 403), ("read", 403, 200), ("write", 200, 200)])
async def test_scopes(make: Any, open_client: Any, scope: str, sends: int, reads: int) -> None:
    client = await open_client(scope=scope)
    sent = await client.post("/events/ingest", json={"events": [make.event(1)]})
    assert sent.status_code == sends
    for path in ("/events", "/events/rejected"):
        read = await client.get(path)
        assert read.status_code == reads
        if reads == 403:
            assert read.json()["code"] == "FORBIDDEN"
            assert "'read' is needed" in read.json()["message"]


async def test_without_a_key(open_client: Any, make: Any) -> None:
    for authorization in ("", "Bearer nobody"):
        client = await open_client(authorization=authorization)
        for answered in (await client.get("/events"), await client.post("/events/ingest", json={"events": []})):
            assert (answered.status_code, answered.json()["code"]) == (401, "UNAUTHORIZED")
            assert answered.headers["www-authenticate"] == "Bearer"


async def test_a_lifted_window_still_ends_with_the_calendar(api: Any, make: Any) -> None:
    """The driver would store the calendar's first and last instant as infinity."""
    await api.patch("/settings", json={"event_age_max": "none", "event_ahead_max": "none"})
    refused = await api.ingest(
        make.event(1, timestamp="9999-12-31T23:59:59.999999Z"), make.event(2, timestamp="0001-01-01T00:00:00Z")
    )
    assert refused.status_code == 400
    assert [problem["code"] for problem in refused.json()["errors"]] == ["TIMESTAMP_OUT_OF_RANGE"] * 2
    edges = await api.ingest(
        make.event(1, timestamp="9999-12-30T23:59:59.999999Z"), make.event(2, timestamp="0001-01-02T00:00:00Z")
    )
    assert edges.json()["ingested_count"] == 2
    read = [item["timestamp"] for item in (await api.get("/events")).json()["items"]]
    assert read == ["0001-01-02T00:00:00.000000Z", "9999-12-30T23:59:59.999999Z"]


async def test_a_resend_from_before_the_window_is_a_duplicate_and_fails_nothing(api: Any, make: Any) -> None:
    """Ids are unique for ever: a sender that retries after a long outage must not lose what is new."""
    old = make.event(1, timestamp="2026-02-04T12:00:00Z")
    await api.ingest(old)
    api.clock.advance(days=2)
    now = "2026-03-12T12:00:00Z"
    answered = await api.ingest(old, {**old, "customer_id": "bob"}, make.event(2, timestamp=now))
    assert answered.status_code == 200
    body = answered.json()
    assert (body["ingested_count"], body["duplicate_count"], body["conflicts"]) == (1, 1, ["call-1"])
    refused = await api.ingest(old, make.event(3, timestamp="2026-02-04T12:00:00Z"))
    assert [problem["event_id"] for problem in refused.json()["errors"]] == ["call-3"]

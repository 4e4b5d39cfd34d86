"""Explanations through the API: every step of a line, and of every event behind it whether it counted, and why not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import convert
from msgspec.json import encode

from app.http.answers import ANSWERS, EXPLANATION
from app.http.explanations import BehindList, ExplanationAnswer
from domain.arithmetic import Step, redo
from tests.app.http.credits import Credits

LARGE = {
    "conjunction": "and",
    "clauses": [
        {"key": "model", "operator": "equals", "value": "large"},
        {"conjunction": "or", "clauses": [{"key": "tokens", "operator": "greater_than", "value": 10}]},
    ],
}


class Told:
    """An invoice of March with a line for calls by filter, one for tokens, one for the longest; then late usage."""

    def __init__(self, api: Any, make: Any) -> None:
        self.api, self.make = api, make
        self.invoice: dict[str, Any] = {}
        self.subscription_id = ""

    async def call(self, number: int, at: str = "2026-03-09T12:00:00Z", **metadata: Any) -> int:
        answered = await self.api.ingest(self.make.event(number, timestamp=at, metadata=metadata))
        assert answered.json()["ingested_count"] == 1, answered.text
        await self.api.project()
        return int(answered.json()["position"])

    async def close(self) -> dict[str, Any]:
        answered = await self.api.post(f"/subscriptions/{self.subscription_id}/close-cycle")
        assert answered.status_code == 200, answered.text
        return answered.json()

    async def explain(self, invoice: dict[str, Any] | None = None) -> dict[str, Any]:
        answered = await self.api.get(f"/invoices/{(invoice or self.invoice)['invoice_id']}/explain")
        assert answered.status_code == 200, answered.text
        return answered.json()

    async def events(self, line: int, invoice: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
        path = f"/invoices/{(invoice or self.invoice)['invoice_id']}/explain/{line}/events"
        answered = await self.api.get(path, params={"page_size": 100, **asked})
        assert answered.status_code == 200, answered.text
        return answered.json()


@pytest.fixture
async def told(api: Any, make: Any) -> Told:
    """Events 0 and 1 count by filter, 2 to 4 do not; 4 has no tokens, and 1 was voided."""
    told = Told(api, make)
    await api.patch("/settings", json={"event_age_max": "none"})
    calls = await make.meter(filter=LARGE)
    tokens = await make.meter(name="Tokens", aggregation={"type": "sum", "key": "tokens"}, measurement_unit="token")
    longest = await make.meter(name="Longest", aggregation={"type": "max", "key": "tokens"})
    tiers = [{"up_to": "50", "price_per_unit": "0.25"}, {"up_to": None, "price_per_unit": "0.125", "fixed_price": 9}]
    meters = [
        {"meter_id": calls["id"], "price_per_unit": "0.5"},
        {"meter_id": tokens["id"], "free_threshold": 5, "tier_mode": "graduated", "tiers": tiers},
        {"meter_id": longest["id"], "tier_mode": "package", "price_per_unit": "1", "package_size": "30"},
    ]
    product = await make.product(price={"meters": meters})
    await make.customer(customer_id="ada")
    told.subscription_id = (await make.subscription("ada", product["product_id"]))["subscription_id"]
    for number, metadata in enumerate(
        (
            {"model": "large", "tokens": 40},
            {"model": "large", "tokens": 99},
            {"model": "small", "tokens": 41},
            {"model": "large", "tokens": 7.5},
            {"model": "large"},
        )
    ):
        await told.call(number, **metadata)
    assert (await api.post("/events/void", json={"event_ids": ["call-1"]})).status_code == 200
    await api.project()
    api.clock.advance(days=30)
    told.invoice = await told.close()
    return told


def steps_of(line: dict[str, Any]) -> dict[str, str]:
    steps = convert(line["steps"], list[Step])
    assert redo(steps) == []
    return {step.name: step.result for step in steps}


async def test_an_unknown_invoice_line_or_place(told: Told, stranger: Any) -> None:
    path = f"/invoices/{told.invoice['invoice_id']}/explain"
    for asked in (path, f"{path}/1/events"):
        assert (await stranger.get(asked)).json()["code"] == "INVOICE_NOT_FOUND"
    assert (await told.api.get("/invoices/inv_none/explain")).status_code == 404
    for line in ("0", "5"):
        answered = await told.api.get(f"{path}/{line}/events")
        assert (answered.status_code, answered.json()["code"]) == (404, "LINE_NOT_FOUND")
    for after in ("0", "x", "9999999", str(told.invoice["position"]), "1"):
        answered = await told.api.get(f"{path}/2/events", params={"after": after})
        assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD"), after
    assert (await told.api.get(f"{path}/2/events", params={"show": "some"})).status_code == 422


async def test_every_step_from_the_events_to_the_total(told: Told) -> None:
    explained = await told.explain()
    assert explained["agrees"]
    fixed, calls, tokens, longest = explained["lines"]
    assert [line["amount"] for line in explained["lines"]] == [500, 1, 26, 2]
    assert steps_of(fixed)["price_of_quantity"] == "500"
    assert steps_of(calls)["events"] == "1"
    found = steps_of(tokens)
    # 40 + 41 + 7.5, less 5; 50 of them at 0.25, the rest at 0.125 with 9 for the tier.
    assert [found[name] for name in ("consumed_units", "chargeable_units", "paid_units")] == ["88.5", "83.5", "83.5"]
    assert [found[name] for name in ("tier_1_price_of_units", "tier_2_units", "tier_2_amount")] == [
        "12.5",
        "33.5",
        "13.1875",
    ]
    assert (found["price_of_tiers"], found["amount"]) == ("25.6875", "26")
    assert steps_of(longest)["packages"] == "2"
    totals = {step["name"]: step["result"] for step in explained["totals"]}
    assert totals["total_amount"] == str(told.invoice["total_amount"])


async def test_the_price_version_says_who_recorded_it_and_why_it_applies(told: Told) -> None:
    product_id = told.invoice["lines"][1]["product_id"]
    later = {**told.make.price, "fixed_price": 700, "meters": []}
    changed = await told.api.patch(f"/products/{product_id}", json={"price": later})
    assert changed.is_success, changed.text
    (version,) = (await told.explain())["lines"][1]["price_versions"]
    assert version["applies"]
    assert version["why"].startswith("in force from the beginning of time, the latest")
    assert version["recorded_by"] == {
        "key_id": told.api.caller.key_id,
        "command": "product.create",
        "from": version["recorded_by"]["from"],
    }
    assert version["price"]["price_per_unit"] == "0.5"


async def test_events_that_counted_and_those_that_did_not(told: Told) -> None:
    behind = await told.events(2)
    assert behind["next"] is None
    assert {item["event_id"]: item["reason"] for item in behind["items"]} == {
        "call-0": None,
        "call-1": "retracted",
        "call-2": "filtered",
        "call-3": "filtered",
        "call-4": "filtered",
    }
    by_id = {item["event_id"]: item for item in behind["items"]}
    assert by_id["call-2"]["conditions"] == [
        {
            "path": "filter.clauses[0]",
            "key": "model",
            "operator": "equals",
            "value": "large",
            "found": "small",
        }
    ]
    assert by_id["call-3"]["told"] == "filter.clauses[1].clauses[0]: tokens is 7.5, wanted: greater than 10"
    assert by_id["call-4"]["conditions"][0]["found"] is None
    assert by_id["call-1"]["retracted_position"] <= told.invoice["position"]
    assert (await told.events(1))["items"] == []


async def test_an_event_without_a_usable_value(told: Told) -> None:
    left = (await told.events(3, show="left_out"))["items"]
    assert [(item["event_id"], item["reason"]) for item in left] == [("call-1", "retracted"), ("call-4", "unmeasured")]
    assert left[1]["told"] == "no usable value: tokens is missing"
    counted = (await told.events(3, show="counted"))["items"]
    assert [item["value"] for item in counted] == ["40", "41", "7.5"]


async def test_of_a_maximum_one_event_decides(told: Told) -> None:
    (counted,) = (await told.events(4, show="counted"))["items"]
    assert counted["event_id"] == "call-2"
    assert (await told.explain())["lines"][3]["deciding_position"] == counted["position"]
    left = {item["event_id"]: item["reason"] for item in (await told.events(4, show="left_out"))["items"]}
    assert left == {
        "call-0": "not_deciding",
        "call-1": "retracted",
        "call-3": "not_deciding",
        "call-4": "unmeasured",
    }


async def test_of_different_values_the_first_event_with_each_counts(api: Any, make: Any) -> None:
    """Those that stood before are left out, wherever in the cycle, and late ones change nothing that was told."""
    told = Told(api, make)
    await api.patch("/settings", json={"event_age_max": "none"})
    users = await make.meter(aggregation={"type": "unique", "key": "user"}, measurement_unit="user")
    product = await make.product(price={"meters": [{"meter_id": users["id"], "price_per_unit": "100"}]})
    await make.customer(customer_id="ada")
    told.subscription_id = (await make.subscription("ada", product["product_id"]))["subscription_id"]
    for number, (hour, user) in enumerate(
        ((9, "eve"), (10, "bob"), (10, "eve"), (11, "bob"), (11, "zoe"), (12, "eve"))
    ):
        await told.call(number, f"2026-03-09T{hour:02}:30:00Z", user=user)
    await api.post("/events/void", json={"event_ids": ["call-0"]})
    await api.project()
    api.clock.advance(days=30)
    told.invoice = await told.close()

    expected = {
        "call-0": "retracted",
        "call-1": None,
        "call-2": None,
        "call-3": "repeated",
        "call-4": None,
        "call-5": "repeated",
    }
    assert {item["event_id"]: item["reason"] for item in (await told.events(2))["items"]} == expected
    counted = (await told.events(2, show="counted"))["items"]
    assert len(counted) == int(steps_of((await told.explain())["lines"][1])["consumed_units"]) == 3
    first = await told.events(2, show="left_out", page_size=2)
    second = await told.events(2, show="left_out", page_size=2, after=first["next"])
    assert [item["event_id"] for item in (*first["items"], *second["items"])] == ["call-0", "call-3", "call-5"]

    await told.call(6, "2026-03-09T09:10:00Z", user="zoe")
    await api.post("/events/void", json={"event_ids": ["call-1"]})
    await api.project()
    again = {item["event_id"]: item["reason"] for item in (await told.events(2))["items"]}
    assert again == {**expected, "call-6": "recorded_later"}


async def test_pages_follow_each_other(told: Told) -> None:
    seen: list[str] = []
    after: dict[str, Any] = {}
    for _ in range(4):
        behind = await told.events(2, page_size=2, **after)
        seen += [item["event_id"] for item in behind["items"]]
        if behind["next"] is None:
            break
        after = {"after": behind["next"]}
    assert seen == [f"call-{number}" for number in range(5)]


async def test_credits_that_rolled_over_before_their_close_is_done(api: Any, make: Any) -> None:
    # Ada's first subscription ends its March on April 1st, and 10 credits roll over. Her second one closes before it.
    credits = Credits(api, make)
    await credits.open(rollover_enabled=True, rollover_percentage=100, max_rollover_count=1)
    await credits.subscribe()
    meter = await make.meter(name="Other calls")
    burns = {"credit_entitlement_id": credits.entitlement_id, "meter_units_per_credit": "1"}
    product = await make.product(price={"meters": [{"meter_id": meter["id"], **burns}]})
    second = (await make.subscription("ada", product["product_id"], anchor_date="2026-03-05"))["subscription_id"]
    api.clock.advance(days=27)
    await credits.use(4, "2026-04-02T12:00:00Z")
    invoice = await credits.close(second)
    answered = await api.get(f"/invoices/{invoice['invoice_id']}/explain")
    assert answered.status_code == 200, answered.text
    told = answered.json()
    (line,) = [line for line in told["lines"] if line["kind"] == "usage"]
    assert told["agrees"]
    # Once, though a line without credits has such a step, too.
    assert [step["result"] for step in line["steps"] if step["name"] == "credit_units"] == ["4"]
    rolled_over = {grant["id"]: grant["rollover_count"] for grant in await credits.grants()}
    assert [(rolled_over[drawn["grant_id"]], drawn["credits"]) for drawn in line["draws"]] == [(1, "4")]


async def test_late_events_name_the_invoice_that_took_them_in(told: Told) -> None:
    late = await told.call(5, model="large", tokens=100)
    (item,) = (await told.events(3, show="late"))["items"]
    assert (item["position"], item["reason"], item["corrected_by"]) == (late, "recorded_later", None)
    told.api.clock.advance(days=31)
    second = await told.close()
    first = await told.explain()
    assert first["agrees"]
    assert steps_of(first["lines"][2])["consumed_units"] == "88.5"
    assert (await told.explain())["lines"][3]["deciding_position"] < late
    (item,) = (await told.events(3, show="late"))["items"]
    assert item["corrected_by"] == {"invoice_id": second["invoice_id"], "number": second["number"]}
    explained = await told.explain(second)
    assert explained["agrees"]
    number, line = next(
        (line["line"], line)
        for line in explained["lines"]
        if line["kind"] == "adjustment" and "Tokens" in line["description"]
    )
    assert line["corrects"] == {"invoice_id": told.invoice["invoice_id"], "number": told.invoice["number"]}
    found = steps_of(line)
    assert (found["consumed_units_now"], found["consumed_units_before"], found["consumed_units"]) == (
        "188.5",
        "88.5",
        "100",
    )
    (item,) = (await told.events(number, second, show="late"))["items"]
    assert (item["position"], item["counted"], item["corrected_by"]["number"]) == (late, True, second["number"])


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/invoices/{invoice_id}/explain", ExplanationAnswer),
        ("/invoices/{invoice_id}/explain/{line}/events", BehindList),
    ],
)
async def test_the_answers_that_are_shown_are_of_this_form(api: Any, path: str, form: type[Any]) -> None:
    shown = ANSWERS["get", path]
    assert json.loads(encode(convert(shown, form))) == shown
    described = (await api.get("/schema/openapi.json")).json()["paths"][path]["get"]
    assert described["responses"]["200"]["content"]["application/json"]["examples"]


def test_the_explanation_that_is_shown_can_be_computed_again() -> None:
    for line in EXPLANATION["lines"]:
        assert steps_of(line)["amount"] == str(line["amount"])

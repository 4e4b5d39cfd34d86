"""Proof packs of a small business's invoices, each checked by the program that customers use."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.database import open_pool
from app.invoicing import void
from app.transaction import transaction
from app.voiding import void_events
from domain.aggregation import Kind, read_aggregation
from domain.entitlement import Overage, OverageBehavior
from domain.invoice import Document
from domain.meter import Meter
from domain.price import MeterPrice
from domain.rating import Tax
from domain.tenant import Settings, Tenant
from domain.tier import Tier, TierMode
from taximeter_verify import Unproved, verify
from tests.app.audit.packs import (
    Line,
    commit_with,
    forged,
    hide,
    lines_of,
    pack_of,
    usage_commit,
    written,
)
from tests.app.business import a_shop
from tests.app.shop import APRIL, MARCH, MAY, Shop, price_of, sms_line, sms_price
from tests.conftest import MovingClock

FLIPS = 400
"""Bytes of a pack that are changed one at a time; with another seed, others."""

CHEAP = '{"conjunction":"and","clauses":[{"key":"n","operator":"less_than","value":9}]}'
TIERS = (Tier(up_to="2", price_per_unit="3"), Tier(up_to=None, price_per_unit="0.25", fixed_price=7))

METADATA = [
    '{"n": 1.5, "who": "ä\\u0001\\"\\\\/"}',
    '{"n": "12"}',
    '{"n": true}',
    "",
    '{"n": -2, "who": "x"}',
    '{"n": 12.0}',
]


class Business(NamedTuple):
    """What was invoiced, and the pack about each invoice."""

    shop: Shop
    documents: dict[str, Document]
    packs: dict[str, Path]


@pytest.fixture(scope="module")
async def business(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Business]:
    """Two months of Ada's: every aggregation and price model, taxes, a wallet, credits, late usage, a void invoice."""
    clock = MovingClock()
    async with open_pool(dsn) as pool:
        shop = await a_shop(pool, clock)
        documents = await _live(shop, clock)
        home = tmp_path_factory.mktemp("packs")
        packs = {name: await pack_of(shop, document.invoice_id, home / name) for name, document in documents.items()}
        yield Business(shop, documents, packs)


async def _live(shop: Shop, clock: MovingClock) -> dict[str, Document]:
    await shop.entitle(
        currency="USD",
        price_per_unit="1.5",
        overage=Overage(enabled=True, behavior=OverageBehavior.invoice_at_billing),
    )
    await shop.open()
    await shop.sell("sms", sms_price("4", sms_line("calls", None)))
    meters = [await _meter(shop, kind) for kind in Kind]
    await shop.sell("all", price_of(fixed_price=0, meters=tuple(map(_price, meters))))
    await shop.customer("bob")
    both, credits = await shop.subscribe(products=["api", "all"]), await shop.subscribe(products=["sms"])
    await shop.pay_in(120)
    await _tax(shop)
    for number, metadata in enumerate(METADATA):
        await shop.record([(MARCH + timedelta(days=number + 1), metadata)])
        await shop.record([(MARCH + timedelta(days=number + 1), metadata)] * 2, "bob")
    await shop.use(*[MARCH + timedelta(hours=number) for number in range(3)], APRIL - timedelta(microseconds=1))
    await void_events(shop.service, shop.caller, ["e0"], "sent twice")
    clock.now = APRIL + timedelta(hours=2)
    documents = {"march": await shop.close(both), "credits": await shop.close(credits)}
    await shop.record([(MARCH + timedelta(days=3), '{"n": 4}'), (APRIL + timedelta(hours=1), '{"n": 3}')])
    await void_events(shop.service, shop.caller, ["e3"], "")
    clock.now = MAY + timedelta(hours=2)
    documents["late"] = await shop.close(both)
    await void(shop.service, shop.caller, str(documents["march"].invoice_id), "wrong address")
    documents["again"] = await shop.close(both, MARCH)
    return documents


async def _meter(shop: Shop, kind: Kind) -> str:
    """A meter of each aggregation; those that look at a number leave some out by a filter."""
    filtered = kind in (Kind.sum, Kind.max, Kind.unique)
    key = None if kind is Kind.count else "who" if kind is Kind.unique else "n"
    async with transaction(shop.service, shop.caller, "meter.create") as running:
        running.add(
            Meter.create(
                f"by_{kind}",
                name=f"by {kind}",
                event_name="call",
                aggregation=read_aggregation({"type": kind, "key": key}),
                filter=CHEAP if filtered else "",
                measurement_unit="thing",
                description=None,
                at=running.now,
            )
        )
    return f"by_{kind}"


def _price(meter_id: str) -> MeterPrice:
    match meter_id.removeprefix("by_"):
        case Kind.sum:
            return MeterPrice(meter_id=meter_id, tier_mode=TierMode.graduated, tiers=TIERS)
        case Kind.count:
            return MeterPrice(meter_id=meter_id, tier_mode=TierMode.volume, tiers=TIERS)
        case Kind.max:
            return MeterPrice(meter_id=meter_id, price_per_unit="12.345", package_size="2")
        case _:
            return MeterPrice(meter_id=meter_id, price_per_unit="0.123456789012", free_threshold="0.5")


async def _tax(shop: Shop) -> None:
    async with transaction(shop.service, shop.caller, "settings.change") as running:
        tenant = await running.get(Tenant, shop.tenant_id)
        taxes = (
            Tax(name="VAT", percent=Decimal("19"), included=False),
            Tax(name="Duty", percent=Decimal("2.5"), included=True),
        )
        tenant.change_settings(Settings(tax_lines=taxes), running.now)


# What is proved


@pytest.mark.parametrize("name", ["march", "credits", "late", "again"])
def test_every_invoice_is_proved(business: Business, name: str) -> None:
    checker = verify(business.packs[name])
    assert checker.text.encode() == msgspec.json.encode(business.documents[name])


def test_the_business_has_what_the_tests_are_about(business: Business) -> None:
    kinds = {name: {line.kind.value for line in one.lines} for name, one in business.documents.items()}
    assert "overage" in kinds["credits"]
    assert "adjustment" in kinds["late"]
    assert kinds["again"] >= {"adjustment", "fixed", "usage"}
    assert business.documents["again"].replaces == business.documents["march"].invoice_id
    assert business.documents["march"].wallet_amount == 120
    assert [line.amount > 0 for line in business.documents["march"].tax_lines] == [True, True]


def test_it_says_what_rests_on_events_on_facts_and_on_the_service_s_word(business: Business) -> None:
    report = verify(business.packs["credits"]).report
    assert any("consumed units recomputed from events (9 events counted, 0 left out" in text for text in report.proved)
    assert any("no fact of credit_account:sms:ada" in text for text in report.proved)
    assert any("credits and overage computed again from grants and usage" in text for text in report.proved)
    assert any("prices" in text for text in report.facts)
    assert any("retracted" in text for text in report.word)
    assert not any("product:sms" in text for text in report.proved)


def test_events_that_a_filter_left_out_and_that_have_no_value_are_told(business: Business) -> None:
    proved = verify(business.packs["march"]).report.proved
    (summed,) = [text for text in proved if "by sum" in text]
    # Of ten calls, one was retracted; "12" and 12.0 are not less than 9, nor are true and nothing.
    assert "(5 events counted, 4 left out by the filter, 0 without a usable value)" in summed
    (averaged,) = [text for text in proved if "by avg" in text]
    assert "(7 events counted, 0 left out by the filter, 2 without a usable value)" in averaged


def test_nothing_of_others_is_in_it(business: Business) -> None:
    for pack in business.packs.values():
        text = pack.read_text(encoding="utf-8")
        assert "bob" not in text
        assert "api_key.created" not in text


def test_a_pack_made_twice_differs_by_the_signed_head_alone(business: Business) -> None:
    again, march = lines_of(business.packs["again"]), lines_of(business.packs["march"])
    assert again[-2]["head"] == march[-2]["head"]


# What is refused


def test_a_pack_with_any_byte_changed_fails(business: Business, tmp_path: Path) -> None:
    whole, chance, changed = business.packs["credits"].read_bytes(), random.Random(7), tmp_path / "changed"
    ends = range(len(whole) - 240, len(whole))
    for place in {*ends, *chance.sample(range(len(whole)), FLIPS)}:
        bits = chance.choice([1 << chance.randrange(8), chance.randrange(1, 256)])
        changed.write_bytes(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
        with pytest.raises(Unproved):
            verify(changed)


@pytest.mark.parametrize("cut", [lambda whole: whole[:-1], lambda whole: whole + b"\n", lambda whole: b""])
def test_a_pack_that_is_cut_or_goes_on_fails(business: Business, tmp_path: Path, cut: object) -> None:
    assert callable(cut)
    (tmp_path / "cut").write_bytes(cut(business.packs["credits"].read_bytes()))
    with pytest.raises(Unproved):
        verify(tmp_path / "cut")


def test_every_line_is_needed(business: Business) -> None:
    for index in range(len(lines_of(business.packs["credits"])) - 1):
        with pytest.raises(Unproved):
            forged(business.packs["credits"], lambda lines, index=index: lines.pop(index))


def test_an_event_changed_by_who_holds_the_key_fails(business: Business) -> None:
    def cheaper(lines: list[Line]) -> None:
        usage_commit(lines)["events"][0][4] = '{"n": 0}'

    with pytest.raises(Unproved, match="signed head"):
        forged(business.packs["march"], cheaper)


def test_an_event_left_out_by_who_holds_the_key_fails(business: Business) -> None:
    def without(lines: list[Line]) -> None:
        commit = next(line for line in lines if len(line.get("events", [])) > 1)
        hide(commit, 1)

    with pytest.raises(Unproved, match="does not come to what it says"):
        forged(business.packs["march"], without)


def test_credits_left_out_by_who_holds_the_key_fail(business: Business) -> None:
    """The grant is hidden behind its hash, so that the tree is right; the account's stream has a hole then."""

    def without(lines: list[Line]) -> None:
        commit = commit_with(lines, "credit.granted")
        hide(commit, [fact[3] for fact in commit["facts"]].index("credit.granted"))

    with pytest.raises(Unproved, match="a fact of credit_account:sms:ada is missing"):
        forged(business.packs["credits"], without)


def test_another_invoice_s_facts_fail(business: Business) -> None:
    def renamed(lines: list[Line]) -> None:
        lines[0]["invoice_id"] = business.documents["march"].invoice_id

    with pytest.raises(Unproved, match="missing"):
        forged(business.packs["credits"], renamed)


def test_the_head_of_another_key_fails(business: Business, tmp_path: Path) -> None:
    """The file is signed again by somebody else, and the head is not."""
    other = Ed25519PrivateKey.generate()
    lines = lines_of(business.packs["credits"])
    with pytest.raises(Unproved, match="signature of the file"):
        verify(written(tmp_path / "other", lines, other))
    lines[-2]["head"]["public_key"] = other.public_key().public_bytes_raw().hex()
    with pytest.raises(Unproved, match="signature of the head"):
        verify(written(tmp_path / "other", lines, other))


def test_an_unchanged_pack_signed_again_is_proved(business: Business) -> None:
    """What the forgeries above fail by is their change, and not the way in which they are written."""
    assert forged(business.packs["credits"], lambda lines: None).proven.sha256 == _sealed_by(business.packs["credits"])


def _sealed_by(pack: Path) -> str:
    sealed: str = lines_of(pack)[-1]["sha256"]
    return sealed

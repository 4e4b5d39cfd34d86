"""Invoice lines as a bookkeeper reads them, and the comparison with those of a document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.scenarios.tariff import money

Json = dict[str, Any]
Names = Callable[[str], str]
"""The name that a story gave to an id."""


@dataclass(frozen=True)
class Line:
    """An invoice line as a bookkeeper reads it. ``before`` and ``after`` are the amounts of an adjustment."""

    kind: str
    of: str
    consumed: str
    free: str
    credits: str
    paid: str
    each: str
    amount: int
    corrects: str | None = None
    before: int | None = None
    after: int | None = None


def fee(product: str, amount: str, quantity: int = 1, total: str | None = None) -> Line:
    """The fixed price of a whole cycle."""
    each, count = money(amount), str(quantity)
    return Line("fixed", product, count, "0", "0", count, each.plain, money(total or amount).whole)


def part_of_fee(product: str, full: str, share: str, amount: str) -> Line:
    """The fixed price of a part of a cycle; ``share`` is that part to 12 places."""
    return Line("proration", product, share, "0", "0", share, money(full).plain, money(amount).whole)


def used(
    meter: str,
    consumed: int | str,
    *,
    free: int | str = 0,
    credits: int | str = 0,
    paid: int | str = 0,
    each: str | None = None,
    amount: str,
) -> Line:
    """What a meter consumed, and what became of it. ``credits`` are the meter's units that credits paid for."""
    price = "0" if each is None else money(each).plain
    return Line("usage", meter, str(consumed), str(free), str(credits), str(paid), price, money(amount).whole)


def overage(meter: str, credits: int | str, each: str, amount: str) -> Line:
    """Credits beyond those there were."""
    count = str(credits)
    return Line("overage", meter, count, "0", "0", count, money(each).plain, money(amount).whole)


def adjustment(
    meter: str,
    cycle: str,
    *,
    was: str,
    now: str,
    amount: str,
    consumed: int | str = 0,
    free: int | str = 0,
    credits: int | str = 0,
    paid: int | str = 0,
    each: str,
) -> Line:
    """The correction of a closed cycle: by how much each column changed, and the amounts before and after."""
    return Line(
        *("adjustment", meter, str(consumed), str(free), str(credits), str(paid)),
        each=money(each).plain,
        amount=money(amount).whole,
        corrects=cycle,
        before=money(was).whole,
        after=money(now).whole,
    )


def read_line(name_of: Names, line: Json) -> Line:
    """A line of a document."""
    before, after = line.get("before"), line.get("after")
    return Line(
        kind=line["kind"],
        of=name_of(line["meter_id"] or line["product_id"]),
        consumed=line["consumed_units"],
        free=line["free_units"],
        credits=line["credit_units"],
        paid=line["paid_units"],
        each=line["price_per_unit"],
        amount=line["amount"],
        corrects=_short(line["cycle_start"]) if line.get("cycle_start") else None,
        before=before["amount"] if before else None,
        after=after["amount"] if after else None,
    )


def _short(text: str) -> str:
    """An instant of the wire as stories write it: without what is 0."""
    return (
        text.removesuffix("Z").removesuffix(".000000").removesuffix("T00:00:00").replace("T", " ").removesuffix(":00")
    )


def check_document(
    name_of: Names, document: Json, lines: Sequence[Line] | None, cycle: tuple[str, str] | None, amounts: Json
) -> None:
    """Compare what the story says of a document with the document."""
    if lines is not None:
        found = [read_line(name_of, line) for line in document["lines"]]
        assert found == list(lines), "\n".join(("found", *map(str, found), "instead of", *map(str, lines)))
    if cycle is not None:
        span = (_short(document["cycle_start"]), _short(document["cycle_end"]))
        assert span == cycle, f"{span} instead of {cycle}"
    shown = {name: document[name] for name in amounts}
    assert shown == amounts, f"{shown} instead of {amounts}"
    tax = document["tax_amount"]
    assert document["subtotal_amount"] == sum(line["amount"] for line in document["lines"])
    assert document["total_amount"] == document["subtotal_amount"] + tax - document["wallet_amount"]

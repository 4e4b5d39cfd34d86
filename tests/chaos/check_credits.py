"""Credits and wallets by their entries alone: nothing is overdrawn, nothing granted twice (I4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from tests.chaos.books import Books
from tests.chaos.naive import exact


def check_grants(books: Books) -> Iterator[str]:
    """I4: included credits are granted once per cycle; what a grant gave is never more than it had."""
    granted: dict[tuple[str, str], Fraction] = {}
    once: Counter[tuple[str, ...]] = Counter()
    for event in books.of_kind("credit.granted"):
        granted[event.stream, event.state["grant_id"]] = exact(event.state["amount"])
        cycle = event.state["cycle"]
        if cycle is not None:
            once[event.stream, cycle["subscription_id"], cycle["product_id"], cycle["start"]] += 1
    for key, times in once.items():
        if times > 1:
            yield f"credits were granted {times} times for {key}"
    drawn: dict[tuple[str, str], Fraction] = dict.fromkeys(granted, Fraction(0))
    for stream, grant_id, credits in _draws(books):
        if (stream, grant_id) not in granted:
            yield f"{stream}: grant {grant_id} was drawn on and never granted"
            continue
        drawn[stream, grant_id] += credits
    for key, credits in drawn.items():
        if not 0 <= credits <= granted[key]:
            yield f"{key[0]}: grant {key[1]} of {granted[key]} gave {credits}"


def _draws(books: Books) -> Iterator[tuple[str, str, Fraction]]:
    returned = {(event.stream, event.state["invoice_id"]) for event in books.of_kind("credit.burns_returned")}
    for event in books.of_kind("credit.debited", "credit.burned"):
        if (event.stream, event.state.get("invoice_id")) in returned:
            continue
        lines = [event.state] if event.kind == "credit.debited" else event.state["lines"]
        for line in lines:
            for draw in line["draws"]:
                yield event.stream, draw["grant_id"], exact(draw["credits"])


def check_burns(books: Books) -> Iterator[str]:
    """I4: what an invoice says that credits covered is what was burned for it."""
    burned: dict[tuple[str, str, str], Fraction] = {}
    for event in books.of_kind("credit.burned"):
        for line in event.state["lines"]:
            key = (event.state["invoice_id"], line["product_id"], line["meter_id"])
            taken = sum((exact(draw["credits"]) for draw in line["draws"]), Fraction(0))
            burned[key] = burned.get(key, Fraction(0)) + taken
    units = {
        (event.stream.partition(":")[2], price["meter_id"]): exact(price.get("meter_units_per_credit") or 1)
        for event in books.of_kind("product.created")
        for price in event.state["price"]["meters"]
    }
    repriced = {event.stream.partition(":")[2] for event in books.of_kind("product.repriced")}
    for invoice_id, document in books.documents().items():
        if any(line["kind"] == "adjustment" for line in document["lines"]):
            continue  # A correction burns for another cycle than the invoice's own.
        for line in document["lines"]:
            if line["kind"] != "usage" or line["product_id"] in repriced:
                continue
            taken = burned.get((invoice_id, line["product_id"], line["meter_id"]), Fraction(0))
            per_credit = units.get((line["product_id"], line["meter_id"]), Fraction(1))
            # Credits have a precision of their own, so units that they cover are at most what they are worth.
            covered = exact(line["credit_units"])
            if not covered <= taken * per_credit or (covered == 0) != (taken == 0):
                yield f"invoice {invoice_id}, meter {line['meter_id']}: {covered} covered by {taken} burned credits"


def check_wallets(books: Books) -> Iterator[str]:
    """I4: a wallet never falls below 0, and each invoice takes from it once."""
    balances: dict[str, Fraction] = {}
    payments: Counter[str] = Counter()
    for event in books.of_kind("wallet.moved"):
        balances[event.stream] = balances.get(event.stream, Fraction(0)) + exact(event.state["amount"])
        if balances[event.stream] < 0:
            yield f"{event.stream} fell to {balances[event.stream]}"
        if event.state["event_type"] == "payment":
            payments[event.state["reference_object_id"]] += 1
    for invoice_id, times in payments.items():
        if times > 1:
            yield f"invoice {invoice_id} was paid {times} times from the wallet"


def check_firings(books: Books) -> Iterator[str]:
    """An alert fires once for a cycle of a subscription."""
    fired = Counter(
        (event.stream, event.state["subscription_id"], event.state["cycle_start"])
        for event in books.of_kind("alert.fired")
    )
    for key, times in fired.items():
        if times > 1:
            yield f"{key[0]} fired {times} times for {key[1:]}"

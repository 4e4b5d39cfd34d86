"""Invoices against the usage in the log, each other, and what clients saw of them (I3, I5, I6, I7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.chaos.books import Books, read_json
from tests.chaos.evidence import Evidence
from tests.chaos.naive import NaiveMeter, exact, meters_of, quantity, rounded

Document = dict[str, Any]


def check_numbers(books: Books) -> Iterator[str]:
    """I6: numbers 1, 2, 3 … each given to one issued invoice, and one standing invoice for a cycle."""
    assigned = [
        event.state["invoice_id"] for event in books.of_kind("invoice_number.first_assigned", "invoice_number.assigned")
    ]
    documents = books.documents()
    for invoice_id, times in Counter(assigned).items():
        if times > 1:
            yield f"invoice {invoice_id} has {times} numbers"
    for invoice_id in set(assigned) ^ documents.keys():
        yield f"invoice {invoice_id} has a number without a document or a document without a number"
    for number, invoice_id in enumerate(assigned, start=1):
        digits = documents.get(invoice_id, {}).get("number", "").rpartition("-")[2]
        if invoice_id in documents and int(digits or 0) != number:
            yield f"invoice {invoice_id} says number {digits} and was given {number}"
    void = books.voided_invoices()
    cycles = Counter(
        (document["subscription_id"], document["cycle_start"])
        for invoice_id, document in documents.items()
        if document.get("type", "invoice") == "invoice" and invoice_id not in void
    )
    for (subscription_id, start), times in cycles.items():
        if times > 1:
            yield f"the cycle of {subscription_id} from {start} has {times} invoices"
    closed = Counter((event.stream, event.state["start"]) for event in books.of_kind("cycle.closed"))
    for (stream, start), times in closed.items():
        if times > 1 + len(void):
            yield f"{stream} has closed its cycle from {start} {times} times"


def check_kept(books: Books, told: Evidence) -> Iterator[str]:
    """I7: the stored document is the log's, and the one that every client ever saw."""
    issued = {event.stream.partition(":")[2]: event.state["document"] for event in books.of_kind("invoice.issued")}
    stored = {row["invoice_id"]: row["document"] for row in books.invoices}
    for invoice_id in issued.keys() ^ stored.keys():
        yield f"invoice {invoice_id} stands in the log or in the list of invoices alone"
    for invoice_id in issued.keys() & stored.keys():
        if issued[invoice_id] != stored[invoice_id]:
            yield f"invoice {invoice_id} reads otherwise than it was issued"
    for seen, invoice_id in told.invoices.items():
        document = seen.partition(" ")[2]
        if invoice_id not in issued:
            yield f"invoice {invoice_id} was seen and is gone"
        elif issued[invoice_id] != document:
            yield f"invoice {invoice_id} is not what was seen of it"


def check_sums(books: Books) -> Iterator[str]:
    """I5: the total is the sum of the lines, taxes and wallet; a line's amount is paid units times its price."""
    digests = {commit["last_position"]: commit["digest"].hex() for commit in books.commits}
    for invoice_id, document in books.documents().items():
        lines, where = document["lines"], f"invoice {invoice_id}"
        if document["subtotal_amount"] != sum(line["amount"] for line in lines):
            yield f"{where}: its lines do not sum to {document['subtotal_amount']}"
        due = document["subtotal_amount"] + document["tax_amount"]
        if document["total_amount"] != due - document["wallet_amount"] or document["total_amount"] < 0:
            yield f"{where}: a total of {document['total_amount']} does not follow from its parts"
        if digests.get(document["position"]) != document["digest"]:
            yield f"{where}: the digest at its position {document['position']} is another one"
        for line in lines:
            if line["kind"] == "usage":
                yield from (f"{where}: {said}" for said in _line(line))


def _line(line: dict[str, Any]) -> Iterator[str]:
    names = ("consumed_units", "free_units", "credit_units", "paid_units")
    consumed, free, credit, paid = (exact(line[name]) for name in names)
    if max(consumed, Fraction(0)) != free + credit + paid:
        yield f"meter {line['meter_id']}: {consumed} is not {free} + {credit} + {paid}"
    if min(free, credit, paid) < 0:
        yield f"meter {line['meter_id']}: units below 0"
    if "tiers" not in line and "package_size" not in line:
        amount = rounded(paid * exact(line["price_per_unit"]))
        if exact(line["amount"]) != amount:
            yield f"meter {line['meter_id']}: amount {line['amount']} where it is {amount}"


def check_usage(books: Books) -> Iterator[str]:
    """I3: each line holds exactly the usage of its cycle up to the invoice's position, each adjustment what is new."""
    meters = {meter.meter_id: meter for meter in meters_of(books)}
    prices = _single_prices(books)
    for invoice_id, document in books.documents().items():
        for line in document["lines"]:
            if line["kind"] == "usage":
                yield from _consumed(books, meters, invoice_id, document, line)
                price = prices.get((line["product_id"], line["meter_id"]))
                if price is not None:
                    yield from _priced(invoice_id, line, price)
    yield from _check_adjustments(books, meters)


def _consumed(
    books: Books, meters: dict[str, NaiveMeter], invoice_id: str, document: Document, line: dict[str, Any]
) -> Iterator[str]:
    expected = _quantity(books, meters[line["meter_id"]], document, document["cycle_start"], document["cycle_end"])
    if exact(line["consumed_units"]) != expected:
        yield (
            f"invoice {invoice_id}, meter {line['meter_id']}: consumed {line['consumed_units']} where the log up to"
            f" {document['position']} holds {expected}"
        )


def _quantity(books: Books, meter: NaiveMeter, document: Document, start: str, end: str) -> Fraction:
    return quantity(
        meter,
        books.usage,
        document["customer_id"],
        datetime.fromisoformat(start),
        datetime.fromisoformat(end),
        int(document["position"]),
    )


def _single_prices(books: Books) -> dict[tuple[str, str], dict[str, Any]]:
    """The prices of products that have one version only: which version holds is then no question."""
    repriced = {event.stream for event in books.of_kind("product.repriced")}
    return {
        (event.stream.partition(":")[2], price["meter_id"]): price
        for event in books.of_kind("product.created")
        if event.stream not in repriced
        for price in event.state["price"]["meters"]
    }


def _priced(invoice_id: str, line: dict[str, Any], price: dict[str, Any]) -> Iterator[str]:
    threshold = exact(price.get("free_threshold") or 0)
    consumed = max(exact(line["consumed_units"]), Fraction(0))
    if exact(line["free_units"]) != min(threshold, consumed):
        yield f"invoice {invoice_id}, meter {line['meter_id']}: {line['free_units']} free where {threshold} are"
    if price.get("price_per_unit") is not None and exact(line["price_per_unit"]) != exact(price["price_per_unit"]):
        yield f"invoice {invoice_id}, meter {line['meter_id']}: a price of {line['price_per_unit']}"


def _check_adjustments(books: Books, meters: dict[str, NaiveMeter]) -> Iterator[str]:
    """What was invoiced of a closed cycle, with all corrections, is its usage as the last of them knew it."""
    documents, void = books.documents(), books.voided_invoices()
    for invoice_id, document in documents.items():
        for line in document["lines"]:
            if line["kind"] != "adjustment" or line["meter_id"] is None or "cycle_start" not in line:
                continue
            if line["after"] is None or document.get("replaces") or invoice_id in void:
                continue
            expected = _quantity(books, meters[line["meter_id"]], document, line["cycle_start"], line["cycle_end"])
            after = line["after"]
            if exact(after["consumed_units"]) != expected:
                yield (
                    f"invoice {invoice_id} corrects {line['cycle_start']}, meter {line['meter_id']} to"
                    f" {after['consumed_units']} where the log holds {expected}"
                )
            if line["amount"] != after["amount"] - line["before"]["amount"]:
                yield f"invoice {invoice_id}: an adjustment of {line['amount']} does not follow from its parts"
    yield from _check_corrected(documents, void)


def _check_corrected(documents: dict[str, Document], void: set[str]) -> Iterator[str]:
    """Adjustments build on each other: each begins where everything invoiced before it ended."""
    invoiced: dict[tuple[str, str, str, str], Fraction] = {}
    for document in sorted(documents.values(), key=lambda one: one["position"]):
        if document["invoice_id"] in void or document.get("replaces"):
            return  # Voided documents take corrections back in ways that only the service knows.
        for line in document["lines"]:
            if line["meter_id"] is None or line["kind"] not in ("usage", "overage", "adjustment"):
                continue
            start = line.get("cycle_start") or document["cycle_start"]
            key = (document["subscription_id"], start, line["product_id"], line["meter_id"])
            before = invoiced.get(key, Fraction(0))
            if line["kind"] == "adjustment" and line.get("before") and exact(line["before"]["amount"]) != before:
                yield f"invoice {document['invoice_id']} corrects {key} from {line['before']['amount']}, not {before}"
            invoiced[key] = before + exact(line["amount"])


def check_settled(books: Books) -> Iterator[str]:
    """The list of invoices has every document once, with the status that the log gives it."""
    statuses = {"invoice.issued": "open", "invoice.paid": "paid", "invoice.opened": "open", "invoice.voided": "void"}
    expected: dict[str, str] = {}
    for event in books.of_kind(*statuses):
        expected[event.stream.partition(":")[2]] = statuses[event.kind]
    for row in books.invoices:
        if row["status"] != expected.get(row["invoice_id"]):
            yield f"invoice {row['invoice_id']} is {row['status']} where the log says {expected.get(row['invoice_id'])}"
        if read_json(row["document"])["number"] != row["number"]:
            yield f"invoice {row['invoice_id']} is listed under another number than its own"

"""What an invoice's page says: every text on it, in order, before anybody draws it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from app.limits import TEXT_MAX_CHARS
from domain import instant
from domain.invoice import Document, DocumentType, Status
from domain.money import major_text, price_major_text
from domain.rating import Computation, Line
from domain.tier import TierUse

TITLES = {
    DocumentType.invoice: "Invoice",
    DocumentType.adjustment: "Adjustment invoice",
    DocumentType.credit_note: "Credit note",
}

ADDRESS_FIELDS = ("street", "city", "state", "zipcode", "country")
"""The wire contract's billing address, in the order of an envelope."""

DIGEST_CHARS = 16
"""Enough of a digest to find it and to see another one; the whole is in the invoice's JSON."""

ERASED = "Personal data erased"
"""In place of what nobody can open any more: a page must not look as if it had been issued to nobody."""

TIMES = "\u00d7"


@dataclass(frozen=True)
class Party:
    """Who sends or gets the invoice: a name and the lines below it."""

    name: str
    details: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One line of the invoice; the notes stand below its description."""

    description: str
    notes: tuple[str, ...]
    quantity: str
    unit_price: str
    amount: str


@dataclass(frozen=True)
class Sum:
    """A row below the lines. ``strong`` is what is to be paid."""

    label: str
    amount: str
    strong: bool = False


@dataclass(frozen=True)
class Page:
    """The whole text of one invoice. ``stamp`` is a status that is more than open."""

    title: str
    number: str
    issued_at: datetime
    stamp: str | None
    logo: str | None
    seller: Party
    buyer: Party
    facts: tuple[tuple[str, str], ...]
    currency: str
    rows: tuple[Row, ...]
    sums: tuple[Sum, ...]
    remarks: tuple[str, ...]
    proof: str


@dataclass(frozen=True)
class Buyer:
    """The customer as known when the invoice was issued; without name and address once erased."""

    customer_id: str
    time_zone: str
    personal: Mapping[str, object]
    billing: Mapping[str, object]


def page_of(
    document: Document, status: str, company: Mapping[str, str], buyer: Buyer, replaced_number: str | None
) -> Page:
    """The page of an issued invoice; ``replaced_number`` is that of the voided one it was issued for again."""
    assert document.number is not None, "an estimate has no page"
    assert document.issued_at is not None
    assert document.digest is not None
    issued_at = instant.parse(document.issued_at)
    facts = [("Number", document.number), ("Issued", issued_at.date().isoformat())]
    if replaced_number is not None:
        facts.append(("Replaces", replaced_number))
    facts += [
        ("Period", span_text(document.cycle_start, document.cycle_end, buyer.time_zone)),
        ("Customer", document.customer_id),
        ("Subscription", document.subscription_id),
    ]
    return Page(
        title=TITLES[document.type],
        number=document.number,
        issued_at=issued_at,
        stamp=None if status == Status.open else status.upper(),
        logo=company.get("logo") or None,
        seller=_seller(company),
        buyer=_buyer(buyer),
        facts=tuple(facts),
        currency=document.currency,
        rows=tuple(_row(line, document.currency) for line in document.lines),
        sums=tuple(sums_of(document)),
        remarks=tuple(_remarks(document, status)),
        proof=f"Log position {document.position}, digest {document.digest[:DIGEST_CHARS]}",
    )


def grouped(text: str) -> str:
    """A plain decimal number with a comma between the thousands of its whole part."""
    whole, point, fraction = text.partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{point}{fraction}"


def span_text(start: str, end: str, zone: str) -> str:
    """A span as people say it: its first and last day when it is made of whole days in the zone, else its instants."""
    first, after = instant.parse(start), instant.parse(end)
    local = ZoneInfo(zone)
    days = [(at.astimezone(local).date(), (at - instant.MICROSECOND).astimezone(local).date()) for at in (first, after)]
    if all(day != before for day, before in days):
        named = "" if zone == "UTC" else f" ({zone})"
        return f"{days[0][0].isoformat()} to {days[1][1].isoformat()}{named}"
    return f"{instant.moment(first)} until {instant.moment(after)}"


def _money(minor: int, currency: str) -> str:
    return grouped(major_text(minor, currency))


def _price(minor: str, currency: str) -> str:
    return grouped(price_major_text(Decimal(minor), currency))


def _seller(company: Mapping[str, str]) -> Party:
    details = company.get("address", "").split("\n")
    details += [f"Tax id: {company['tax_id']}"] if company.get("tax_id") else []
    details += [company.get(field, "") for field in ("email", "phone", "website")]
    return Party(company.get("name", ""), tuple(text.strip() for text in details if text.strip()))


def _buyer(buyer: Buyer) -> Party:
    personal = {field: str(buyer.personal.get(field) or "").strip() for field in ("name", "email")}
    # An address holds whatever was sent with the subscription.
    street, city, state, zipcode, country = (
        str(buyer.billing.get(field) or "")[:TEXT_MAX_CHARS].strip() for field in ADDRESS_FIELDS
    )
    place = " ".join(part for part in (zipcode, city) if part)
    details = (street, ", ".join(part for part in (place, state) if part), country, personal["email"])
    erased = () if buyer.personal else (ERASED,)
    return Party(personal["name"] or buyer.customer_id, (*erased, *(text for text in details if text)))


def _row(line: Line, currency: str) -> Row:
    return Row(
        description=line.description,
        notes=tuple(_notes(line, currency)),
        quantity=grouped(line.paid_units),
        unit_price=_unit_price(line, currency),
        amount=_money(line.amount, currency),
    )


def _unit_price(line: Line, currency: str) -> str:
    """Empty where quantity times one price is not the amount: by tiers, and for a difference of two amounts."""
    return "" if line.tiers or line.before is not None else _price(line.price_per_unit, currency)


def _notes(line: Line, currency: str) -> Iterator[str]:
    if line.before is not None and line.after is not None:
        yield f"Invoiced before: {_computation(line.before, currency)}"
        yield f"As known now: {_computation(line.after, currency)}"
        return
    if line.consumed_units != line.paid_units:
        yield f"Used {_split(line)}"
    if line.package_size is not None:
        yield f"Sold in packages of {grouped(line.package_size)}"
    for tier in line.tiers:
        yield _tier(tier, currency)


def _split(units: Line | Computation) -> str:
    """Consumed units, and what becomes of them: 7 = 2 free, 1 in credits, 4 to pay."""
    # What credits do not cover of a line without a price of its own is overage's business, not this line's.
    unpriced = isinstance(units, Line) and units.price_per_unit == "0" and not units.tiers
    rest = "not covered" if unpriced else "to pay"
    kinds = ((units.free_units, "free"), (units.credit_units, "in credits"), (units.paid_units, rest))
    parts = ", ".join(f"{grouped(count)} {kind}" for count, kind in kinds if count != "0")
    return f"{grouped(units.consumed_units)} = {parts}" if parts else grouped(units.consumed_units)


def _computation(computation: Computation, currency: str) -> str:
    return f"{_split(computation)}; {_money(computation.amount, currency)}"


def _tier(tier: TierUse, currency: str) -> str:
    reach = "Above" if tier.up_to is None else f"Up to {grouped(tier.up_to)}"
    fixed = f" + {_money(tier.fixed_price, currency)}" if tier.fixed_price else ""
    product = f"{grouped(tier.units)} {TIMES} {_price(tier.price_per_unit, currency)}{fixed}"
    return f"{reach}: {product} = {_price(tier.amount, currency)}"


def sums_of(document: Document) -> Iterator[Sum]:
    """The rows below the lines, of an invoice or an estimate: subtotal, taxes, wallet, total, contained taxes."""
    currency = document.currency
    yield Sum("Subtotal", _money(document.subtotal_amount, currency))
    for tax in document.tax_lines:
        if not tax.included:
            yield Sum(f"{tax.name} {tax.percent}%", _money(tax.amount, currency))
    if document.wallet_amount > 0:
        yield Sum("Paid from wallet", _money(-document.wallet_amount, currency))
    if document.wallet_amount < 0:
        yield Sum("Credited to wallet", _money(-document.wallet_amount, currency))
    yield Sum(f"Total {currency}", _money(document.total_amount, currency), strong=True)
    for tax in document.tax_lines:
        if tax.included:
            yield Sum(f"Contains {tax.name} {tax.percent}%", _money(tax.amount, currency))


def _remarks(document: Document, status: str) -> Iterator[str]:
    if status == Status.void:
        yield "This document is void: nothing is to be paid for it."
    elif document.wallet_amount < 0:
        yield "The amount credited to the wallet is taken off later invoices."

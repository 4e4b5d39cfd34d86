"""The invoice: a document that never changes, and the gapless numbers of a tenant's invoices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

import msgspec

from domain.aggregate import Fact, Root
from domain.rating import Line, Rated


class Status(StrEnum):
    """Kept beside the document, for it changes."""

    open = "open"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice as it is stored and answered: its JSON bytes are fixed when it is issued.

    ``position`` and ``digest`` name the log prefix it was computed from. Amounts are whole minor units. An estimate is
    the same document without number, digest and time of issue.
    """

    invoice_id: str | None
    number: str | None
    customer_id: str
    subscription_id: str
    currency: str
    cycle_start: str
    cycle_end: str
    lines: tuple[Line, ...]
    subtotal_amount: int
    wallet_amount: int
    tax_amount: int
    total_amount: int
    position: int
    digest: str | None
    issued_at: str | None


class Invoice(Root):
    """One closed cycle's bill."""

    TOPIC: ClassVar[str] = "invoice"

    class Created(Root.Created):
        """``document`` is the invoice's JSON text: what is proven later is these bytes."""

        TOPIC: ClassVar[str] = "invoice.issued"
        document: str

    def __init__(self, document: str) -> None:
        self.document = document
        self.status = Status.open

    @classmethod
    def issue(cls, invoice_id: str, document: Document, at: datetime) -> Self:
        """Issue the invoice."""
        text = msgspec.json.encode(document).decode()
        return cls._create(cls.Created, id=cls.stream(invoice_id), timestamp=at, document=text)

    def read(self) -> Document:
        """The document."""
        return msgspec.json.decode(self.document, type=Document)


class InvoiceNumbers(Root):
    """The numbers a tenant has given: 1, 2, 3 … without a gap, since a number is a version of this stream."""

    TOPIC: ClassVar[str] = "invoice_numbers"
    ONLY = "all"

    @dataclass(frozen=True)
    class Created(Root.Created):
        """Number 1."""

        TOPIC: ClassVar[str] = "invoice_number.first_assigned"
        invoice_id: str

    @dataclass(frozen=True)
    class Next(Root.Event):
        """The next number."""

        TOPIC: ClassVar[str] = "invoice_number.assigned"
        invoice_id: str

        def apply(self, aggregate: InvoiceNumbers) -> None:
            """The version of the stream is the number; only the last holder is kept."""
            aggregate.invoice_id = self.invoice_id

    def __init__(self, invoice_id: str) -> None:
        self.invoice_id = invoice_id


def assign_number(last: int, invoice_id: str, at: datetime) -> tuple[int, Fact]:
    """The number after ``last`` (0 when none was given) and the event that gives it to an invoice.

    The event's version is the number, so the log itself refuses to give one twice; the stream need not be replayed.
    """
    stream, number = InvoiceNumbers.stream(InvoiceNumbers.ONLY), last + 1
    if last:
        event = InvoiceNumbers.Next(
            originator_id=stream, originator_version=number, timestamp=at, invoice_id=invoice_id
        )
        return number, event
    first = InvoiceNumbers.Created(
        originator_id=stream,
        originator_version=number,
        timestamp=at,
        originator_topic=InvoiceNumbers.TOPIC,
        invoice_id=invoice_id,
    )
    return number, first


def number_text(prefix: str, number: int) -> str:
    """The number as people see it: the tenant's prefix and at least six digits."""
    return f"{prefix}{number:06d}"


def compose(
    *,
    customer_id: str,
    subscription_id: str,
    currency: str,
    cycle: tuple[str, str],
    rated: Rated,
    position: int,
    digest: str | None = None,
    invoice_id: str | None = None,
    number: str | None = None,
    issued_at: str | None = None,
) -> Document:
    """The document of a rated cycle; ``cycle`` is its start and end as text."""
    return Document(
        invoice_id=invoice_id,
        number=number,
        customer_id=customer_id,
        subscription_id=subscription_id,
        currency=currency,
        cycle_start=cycle[0],
        cycle_end=cycle[1],
        lines=rated.lines,
        subtotal_amount=rated.subtotal_amount,
        wallet_amount=0,
        tax_amount=0,
        total_amount=rated.total_amount,
        position=position,
        digest=digest,
        issued_at=issued_at,
    )

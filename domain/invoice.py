"""The invoice: a document that never changes, and the gapless numbers of a tenant's invoices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

import msgspec

from domain.aggregate import Fact, Root
from domain.errors import Conflict
from domain.rating import Line, Rated, TaxLine


class Status(StrEnum):
    """Kept beside the document, for it changes."""

    open = "open"
    paid = "paid"
    void = "void"


class DocumentType(StrEnum):
    """What a document is for: a cycle, or only corrections of cycles that were invoiced before."""

    invoice = "invoice"
    adjustment = "adjustment"
    credit_note = "credit_note"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice as it is stored and answered: its JSON bytes are fixed when it is issued.

    ``position`` and ``digest`` name the log prefix it was computed from. Amounts are whole minor units, and always
    ``total = subtotal + tax - wallet``; a negative ``wallet_amount`` is credited to the customer. ``replaces`` is the
    voided invoice that this one was issued for again. An estimate is the same document without number, digest and
    time of issue.
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
    type: DocumentType = DocumentType.invoice
    replaces: str | None = None
    tax_lines: tuple[TaxLine, ...] = ()


class Invoice(Root):
    """One closed cycle's bill."""

    TOPIC: ClassVar[str] = "invoice"

    class Created(Root.Created):
        """``document`` is the invoice's JSON text: what is proven later is these bytes."""

        TOPIC: ClassVar[str] = "invoice.issued"
        document: str

    class Paid(Root.Event):
        """Somebody says that it was paid."""

        TOPIC: ClassVar[str] = "invoice.paid"

        def apply(self, aggregate: Invoice) -> None:
            """Write the status."""
            aggregate.status = Status.paid

    class Opened(Root.Event):
        """It is not paid after all."""

        TOPIC: ClassVar[str] = "invoice.opened"

        def apply(self, aggregate: Invoice) -> None:
            """Write the status."""
            aggregate.status = Status.open

    class Voided(Root.Event):
        """It does not hold any more; its number and document stay."""

        TOPIC: ClassVar[str] = "invoice.voided"
        reason: str | None

        def apply(self, aggregate: Invoice) -> None:
            """Write the status."""
            aggregate.status = Status.void

    def __init__(self, document: str) -> None:
        self.document = document
        self.status = Status.open

    @classmethod
    def issue(cls, invoice_id: str, document: Document, at: datetime) -> Self:
        """Issue the invoice."""
        text = msgspec.json.encode(document).decode()
        return cls._create(cls.Created, id=cls.stream(invoice_id), timestamp=at, document=text)

    def mark(self, *, paid: bool, at: datetime) -> None:
        """Paid, or open again. Nothing happens when it is already. Raises ``Conflict`` for a void invoice."""
        self._refuse_void()
        if paid and self.status is Status.open:
            self.trigger_event(self.Paid, timestamp=at)
        elif not paid and self.status is Status.paid:
            self.trigger_event(self.Opened, timestamp=at)

    def void(self, reason: str | None, at: datetime) -> None:
        """Void an open invoice. Raises ``Conflict`` for one that is void, or paid: that is taken back first."""
        self._refuse_void()
        if self.status is Status.paid:
            raise Conflict("INVOICE_PAID", f"invoice '{self.object_id}' is paid; mark it open before it is voided")
        self.trigger_event(self.Voided, timestamp=at, reason=reason)

    def _refuse_void(self) -> None:
        if self.status is Status.void:
            raise Conflict("INVOICE_VOID", f"invoice '{self.object_id}' is void")

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


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """What makes an estimate an invoice."""

    invoice_id: str
    number: str
    digest: str
    issued_at: str


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whose document it is and for which span; ``cycle`` is its start and end as text."""

    customer_id: str
    subscription_id: str
    currency: str
    cycle: tuple[str, str]
    type: DocumentType = DocumentType.invoice
    replaces: str | None = None


def compose(subject: Subject, rated: Rated, *, wallet_balance: int, position: int, issue: Issue | None) -> Document:
    """The document of what was rated at ``position``; without ``issue`` an estimate.

    The wallet pays what it can. Lines that sum below 0 come to a total of 0, and the wallet is credited with the rest.
    """
    due = rated.subtotal_amount + rated.tax_amount
    from_wallet = min(wallet_balance, due)
    return Document(
        invoice_id=issue.invoice_id if issue else None,
        number=issue.number if issue else None,
        customer_id=subject.customer_id,
        subscription_id=subject.subscription_id,
        currency=subject.currency,
        cycle_start=subject.cycle[0],
        cycle_end=subject.cycle[1],
        lines=rated.lines,
        subtotal_amount=rated.subtotal_amount,
        wallet_amount=from_wallet,
        tax_amount=rated.tax_amount,
        total_amount=due - from_wallet,
        position=position,
        digest=issue.digest if issue else None,
        issued_at=issue.issued_at if issue else None,
        type=subject.type,
        replaces=subject.replaces,
        tax_lines=rated.tax_lines,
    )

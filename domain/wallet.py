"""The wallet: money of one currency that a customer has with the business; it settles invoices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

import msgspec

from domain.aggregate import Root
from domain.errors import Conflict, Insufficient
from domain.money import major_text

WALLET_ACCOUNT = "wallet"
"""The account of the ledger whose sum is the balance; every other account is named after why money moved."""


class MovementType(StrEnum):
    """Why money moved, as written on the wire. Of the contract's types these happen here."""

    merchant_adjustment = "merchant_adjustment"
    payment = "payment"
    payment_reversal = "payment_reversal"
    invoice_credit = "refund"
    invoice_credit_reversal = "refund_reversal"


REVERSES: dict[MovementType, MovementType] = {
    MovementType.payment_reversal: MovementType.payment,
    MovementType.invoice_credit_reversal: MovementType.invoice_credit,
}
"""The accounts in which a reversal takes back what was posted before it."""


class Posting(msgspec.Struct, frozen=True):
    """One side of a movement: so many minor units into an account, or out of it when negative."""

    account: str
    amount: int


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the ledger. ``amount`` is signed minor units; ``before_balance`` what was there before."""

    entry_id: str
    at: datetime
    amount: int
    event_type: MovementType
    reason: str | None
    idempotency_key: str | None
    reference_object_id: str | None
    before_balance: int

    @property
    def after_balance(self) -> int:
        """What was there after it."""
        return self.before_balance + self.amount

    @property
    def postings(self) -> tuple[Posting, Posting]:
        """Both sides; they sum to 0."""
        opposite = REVERSES.get(self.event_type, self.event_type)
        return Posting(WALLET_ACCOUNT, self.amount), Posting(opposite.value, -self.amount)


class Wallet(Root):
    """A customer's money in one currency, whole minor units, never below 0."""

    TOPIC: ClassVar[str] = "wallet"

    class Created(Root.Created):
        """An empty wallet."""

        TOPIC: ClassVar[str] = "wallet.opened"
        customer_id: str
        currency: str

    class Moved(Root.Event):
        """Money came in (``amount`` above 0) or went out. ``reference_object_id`` is the invoice it belongs to."""

        TOPIC: ClassVar[str] = "wallet.moved"
        entry_id: str
        amount: int
        event_type: MovementType
        reason: str | None = None
        idempotency_key: str | None = None
        reference_object_id: str | None = None

        def apply(self, aggregate: Wallet) -> None:
            """Add the entry and move the balance."""
            aggregate.movements.append(
                Movement(
                    entry_id=self.entry_id,
                    at=self.timestamp,
                    amount=self.amount,
                    event_type=self.event_type,
                    reason=self.reason,
                    idempotency_key=self.idempotency_key,
                    reference_object_id=self.reference_object_id,
                    before_balance=aggregate.balance,
                )
            )
            aggregate.balance += self.amount

    def __init__(self, customer_id: str, currency: str) -> None:
        self.customer_id = customer_id
        self.currency = currency
        self.balance = 0
        self.movements: list[Movement] = []

    @classmethod
    def wallet_id(cls, customer_id: str, currency: str) -> str:
        """The id of a customer's wallet of a currency."""
        return f"{currency}:{customer_id}"

    @classmethod
    def open(cls, customer_id: str, currency: str, at: datetime) -> Self:
        """An empty wallet. ``currency`` is an ISO 4217 code that the caller has checked."""
        stream = cls.stream(cls.wallet_id(customer_id, currency))
        return cls._create(cls.Created, id=stream, timestamp=at, customer_id=customer_id, currency=currency)

    def movement_with(self, idempotency_key: str) -> Movement | None:
        """The entry that was asked for under this key."""
        found = (movement for movement in self.movements if movement.idempotency_key == idempotency_key)
        return next(found, None)

    def move(self, entry_id: str, amount: int, reason: str | None, idempotency_key: str | None, at: datetime) -> None:
        """Credit an amount above 0 or debit one below it, by hand. A repeated request changes nothing.

        Raises ``Conflict`` when the key was used for something else, ``Insufficient`` when there is not so much.
        """
        earlier = self.movement_with(idempotency_key) if idempotency_key is not None else None
        if earlier is not None:
            if (earlier.amount, earlier.reason) != (amount, reason):
                raise key_used(str(idempotency_key))
            return
        if self.balance + amount < 0:
            there = major_text(self.balance, self.currency)
            raise Insufficient("INSUFFICIENT_BALANCE", f"amount: the wallet holds {there} {self.currency}")
        self.trigger_event(
            self.Moved,
            timestamp=at,
            entry_id=entry_id,
            amount=amount,
            event_type=MovementType.merchant_adjustment,
            reason=reason,
            idempotency_key=idempotency_key,
        )

    def apply_to_invoice(self, amount: int, invoice_id: str, at: datetime) -> int:
        """Pay up to ``amount`` minor units of an invoice; what was taken, 0 when the wallet is empty."""
        taken = min(self.balance, amount)
        if taken <= 0:
            return 0
        self._move_for(invoice_id, -taken, MovementType.payment, at)
        return taken

    def credit_from_invoice(self, amount: int, invoice_id: str, at: datetime) -> None:
        """Take in what an invoice owes the customer, minor units above 0."""
        self._move_for(invoice_id, amount, MovementType.invoice_credit, at)

    def return_from_invoice(self, invoice_id: str, at: datetime) -> None:
        """Reverse exactly what an invoice took or credited, once. Nothing happens when it moved nothing.

        Raises ``Conflict`` when it credited money that has been used since: a wallet is never below 0.
        """
        moved = sum(movement.amount for movement in self.movements if movement.reference_object_id == invoice_id)
        if not moved:
            return
        if self.balance < moved:
            credited, there = major_text(moved, self.currency), major_text(self.balance, self.currency)
            raise Conflict(
                "WALLET_SPENT",
                f"invoice '{invoice_id}' credited {credited} {self.currency} to the customer's wallet, which now holds"
                f" {there}; credit the wallet first",
            )
        kind = MovementType.payment_reversal if moved < 0 else MovementType.invoice_credit_reversal
        self._move_for(invoice_id, -moved, kind, at)

    def _move_for(self, invoice_id: str, amount: int, kind: MovementType, at: datetime) -> None:
        # An invoice moves money once and takes it back once, so its id names the entry.
        self.trigger_event(
            self.Moved,
            timestamp=at,
            entry_id=f"wle_{kind.value}_{invoice_id}",
            amount=amount,
            event_type=kind,
            reference_object_id=invoice_id,
        )


def key_used(idempotency_key: str) -> Conflict:
    """The refusal of a key that stands for another movement."""
    return Conflict("IDEMPOTENCY_KEY_USED", f"idempotency_key: '{idempotency_key}' was used for another entry")


def sums_of(movements: Sequence[Movement]) -> dict[str, int]:
    """The sum of the postings of every account, in minor units."""
    sums: dict[str, int] = {WALLET_ACCOUNT: 0}
    for movement in movements:
        for posting in movement.postings:
            sums[posting.account] = sums.get(posting.account, 0) + posting.amount
    return sums


def check(wallet: Wallet) -> list[str]:
    """What is wrong with a wallet's ledger, in sentences; empty when every sum is right."""
    problems: list[str] = []
    balance = 0
    for movement in wallet.movements:
        if sum(posting.amount for posting in movement.postings):
            problems.append(f"the postings of {movement.entry_id} do not sum to 0")
        if movement.before_balance != balance:
            problems.append(f"{movement.entry_id} begins at {movement.before_balance}, not at {balance}")
        balance = movement.after_balance
        if balance < 0:
            problems.append(f"{movement.entry_id} leaves {balance}")
    if sums_of(wallet.movements)[WALLET_ACCOUNT] != wallet.balance:
        problems.append(f"the balance {wallet.balance} is not the sum of the entries")
    return problems

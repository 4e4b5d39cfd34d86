"""The credit account: the facts about one customer's credits of one entitlement, and nothing that follows from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Self

import msgspec

from domain import number
from domain.aggregate import Root
from domain.burn import Burn, BurnLine, Debit, Draw, Rolled
from domain.entitlement import check_credits
from domain.errors import Conflict, Insufficient, Invalid
from domain.grant import Calendar, Grant, GrantedCycle, RolloverTerms, SourceType


class CreditAccount(Root):
    """Grants, debits, final burns and rollovers. Balances are not kept: see ``domain.settlement``."""

    TOPIC: ClassVar[str] = "credit_account"

    class Created(Root.Created):
        """``precision`` is the entitlement's."""

        TOPIC: ClassVar[str] = "credit_account.opened"
        entitlement_id: str
        customer_id: str
        precision: int

    class Granted(Root.Event):
        """Credits were added."""

        TOPIC: ClassVar[str] = "credit.granted"
        grant_id: str
        amount: str
        begins: datetime
        expires: datetime | None
        source_type: SourceType
        source_id: str | None
        parent_grant_id: str | None
        rollover_count: int
        rollover: RolloverTerms | None
        cycle: GrantedCycle | None
        lasts_until: datetime | None
        outlives: bool
        reason: str | None
        metadata: str
        idempotency_key: str | None

        def apply(self, aggregate: CreditAccount) -> None:
            """Add the grant."""
            parent = aggregate.grants.get(self.parent_grant_id or "")
            aggregate.grants[self.grant_id] = Grant(
                id=self.grant_id,
                amount=Decimal(self.amount),
                begins=self.begins,
                expires=self.expires,
                source_type=self.source_type,
                order=parent.order if parent else len(aggregate.grants),
                recorded_at=self.timestamp,
                source_id=self.source_id,
                parent_grant_id=self.parent_grant_id,
                rollover_count=self.rollover_count,
                rollover=self.rollover,
                cycle=self.cycle,
                lasts_until=self.lasts_until,
                outlives=self.outlives,
                reason=self.reason,
                metadata=self.metadata,
            )
            aggregate.used_keys.add(self.idempotency_key)

    class GrantMoved(Root.Event):
        """The cycle that made a grant ends elsewhere, and the grant with it."""

        TOPIC: ClassVar[str] = "credit.grant_moved"
        grant_id: str
        expires: datetime | None
        rollover: RolloverTerms | None
        cycle: GrantedCycle

        def apply(self, aggregate: CreditAccount) -> None:
            """Write the new end."""
            aggregate.grants[self.grant_id] = msgspec.structs.replace(
                aggregate.grants[self.grant_id], expires=self.expires, rollover=self.rollover, cycle=self.cycle
            )

    class Debited(Root.Event):
        """Credits were taken out by hand, at ``timestamp``."""

        TOPIC: ClassVar[str] = "credit.debited"
        entry_id: str
        draws: tuple[Draw, ...]
        reason: str | None
        metadata: str
        idempotency_key: str | None

        def apply(self, aggregate: CreditAccount) -> None:
            """Add the debit."""
            debit = Debit(
                self.entry_id, self.draws, self.timestamp, self.originator_version, self.reason, self.metadata
            )
            aggregate.debits.append(debit)
            aggregate.used_keys.add(self.idempotency_key)

    class Burned(Root.Event):
        """An invoice burned credits for a cycle, or corrected what was burned for it."""

        TOPIC: ClassVar[str] = "credit.burned"
        invoice_id: str
        subscription_id: str
        cycle_start: datetime
        cycle_end: datetime
        lines: tuple[BurnLine, ...]

        def apply(self, aggregate: CreditAccount) -> None:
            """Add the burn."""
            burn = Burn(
                invoice_id=self.invoice_id,
                subscription_id=self.subscription_id,
                cycle_start=self.cycle_start,
                cycle_end=self.cycle_end,
                lines=self.lines,
                recorded_at=self.timestamp,
                version=self.originator_version,
            )
            aggregate.burns.append(burn)

    class RolledOver(Root.Event):
        """The rest of a grant was shared out. The child, if any, is granted by the next event."""

        TOPIC: ClassVar[str] = "credit.rolled_over"
        grant_id: str
        at: datetime
        amount: str
        forfeited: str
        child_id: str | None
        invoice_id: str

        def apply(self, aggregate: CreditAccount) -> None:
            """Note what the parent can no longer be drawn for."""
            aggregate.rolled[self.grant_id] = Decimal(self.amount)

    class BurnsReturned(Root.Event):
        """An invoice is void: nothing that it burned counts."""

        TOPIC: ClassVar[str] = "credit.burns_returned"
        invoice_id: str

        def apply(self, aggregate: CreditAccount) -> None:
            """Mark its burns."""
            returned = {"returned_at": self.timestamp, "returned_version": self.originator_version}
            aggregate.burns = [
                msgspec.structs.replace(burn, **returned) if burn.invoice_id == self.invoice_id else burn
                for burn in aggregate.burns
            ]

    def __init__(self, entitlement_id: str, customer_id: str, precision: int) -> None:
        self.entitlement_id = entitlement_id
        self.customer_id = customer_id
        self.precision = precision
        self.grants: dict[str, Grant] = {}
        self.debits: list[Debit] = []
        self.burns: list[Burn] = []
        self.rolled: dict[str, Decimal] = {}
        self.used_keys: set[str | None] = set()

    @staticmethod
    def account_id(entitlement_id: str, customer_id: str) -> str:
        """The id of the one account of a customer with an entitlement."""
        return f"{entitlement_id}:{customer_id}"

    @classmethod
    def open(cls, entitlement_id: str, customer_id: str, precision: int, at: datetime) -> Self:
        """Open the account, before its first fact."""
        return cls._create(
            cls.Created,
            id=cls.stream(cls.account_id(entitlement_id, customer_id)),
            timestamp=at,
            entitlement_id=entitlement_id,
            customer_id=customer_id,
            precision=precision,
        )

    def grant_cycle(
        self,
        grant_id: str,
        *,
        amount: Decimal,
        cycle: GrantedCycle,
        lasts_until: datetime | None = None,
        outlives: bool = False,
        rollover: RolloverTerms | None = None,
        at: datetime,
    ) -> None:
        """Grant the credits that a product includes in a cycle; nothing happens when that was done, or they are 0.

        They expire with the cycle or at ``lasts_until``, whichever is earlier; those that are to ``outlive`` the cycle
        (a trial's, perhaps) only at the latter.
        """
        made = (cycle.subscription_id, cycle.product_id, cycle.start)
        if not amount or any(made == grant.made_for for grant in self.grants.values()):
            return
        grant = Grant(
            id=grant_id,
            amount=amount,
            begins=cycle.start,
            expires=cycle.expiry(lasts_until, outlives),
            source_type=SourceType.subscription,
            order=len(self.grants),
            source_id=cycle.subscription_id,
            rollover=rollover,
            cycle=cycle,
            lasts_until=lasts_until,
            outlives=outlives,
        )
        self._grant(grant, None, at)

    def granted_cycles(self, subscription_id: str) -> list[datetime]:
        """The starts of the cycles of a subscription that were granted for, in order."""
        made = (grant.made_for for grant in self.grants.values())
        return sorted({place[2] for place in made if place and place[0] == subscription_id})

    def move_cycle_end(
        self,
        subscription_id: str,
        cycle_start: datetime,
        end: datetime,
        calendar: Calendar | None,
        at: datetime,
        *,
        products: Collection[str] | None = None,
    ) -> None:
        """The cycle was cut, or its end moved: its grants end with it. ``calendar`` tells where the next cycle ends.

        Of a cycle that never was ``end`` is its start. Grants of products that are not among ``products``, when those
        are given, end where they begin: the cycle has others in their place.
        """
        for grant in list(self.grants.values()):
            cycle = grant.cycle
            if cycle is None or grant.made_for != (subscription_id, cycle.product_id, cycle_start):
                continue
            stays = products is None or cycle.product_id in products
            moved = msgspec.structs.replace(cycle, end=end if stays else cycle_start)
            if moved == cycle:
                continue
            terms = grant.rollover
            if terms is not None and calendar is not None:
                terms = msgspec.structs.replace(terms, calendar=calendar)
            self.trigger_event(
                self.GrantMoved,
                timestamp=at,
                grant_id=grant.id,
                expires=moved.expiry(grant.lasts_until, grant.outlives),
                rollover=terms,
                cycle=moved,
            )

    def credit(
        self,
        grant_id: str,
        *,
        amount: Decimal,
        expires: datetime | None,
        reason: str | None = None,
        metadata: str = "{}",
        idempotency_key: str | None = None,
        at: datetime,
    ) -> Grant:
        """Grant credits by hand, valid from now on.

        Raises ``Invalid`` for an amount that is 0 or has too many digits and for an expiry that has passed, and
        ``Conflict`` (IDEMPOTENCY_KEY_USED).
        """
        self._check_entry(amount, idempotency_key)
        if expires is not None and expires <= at:
            raise Invalid("expires_at", "must lie ahead")
        grant = Grant(
            id=grant_id,
            amount=amount,
            begins=at,
            expires=expires,
            source_type=SourceType.api,
            order=len(self.grants),
            reason=reason,
            metadata=metadata,
        )
        self._grant(grant, idempotency_key, at)
        return self.grants[grant_id]

    def debit(
        self,
        entry_id: str,
        *,
        amount: Decimal,
        free: Mapping[str, Decimal],
        reason: str | None = None,
        metadata: str = "{}",
        idempotency_key: str | None = None,
        at: datetime,
    ) -> tuple[Draw, ...]:
        """Take credits out by hand. ``free`` is what each grant valid now still holds after all claims, in burn order.

        Raises ``Insufficient`` (INSUFFICIENT_CREDITS), and as ``credit`` does.
        """
        self._check_entry(amount, idempotency_key)
        if number.total(free.values()) < amount:
            raise Insufficient("INSUFFICIENT_CREDITS", "the balance is lower than the amount")
        draws, left = list[Draw](), amount
        for grant_id, credits_left in free.items():
            taken = min(left, credits_left)
            if taken > 0:
                draws.append(Draw(grant_id, number.plain(taken)))
                left = number.minus(left, taken)
        self.trigger_event(
            self.Debited,
            timestamp=at,
            entry_id=entry_id,
            draws=tuple(draws),
            reason=reason,
            metadata=metadata,
            idempotency_key=idempotency_key,
        )
        return tuple(draws)

    def burn(
        self,
        invoice_id: str,
        *,
        subscription_id: str,
        cycle: tuple[datetime, datetime],
        lines: Sequence[BurnLine],
        at: datetime,
    ) -> None:
        """Make the draws of a cycle's lines final, or correct them. Nothing happens when nothing changes."""
        if lines:
            self.trigger_event(
                self.Burned,
                timestamp=at,
                invoice_id=invoice_id,
                subscription_id=subscription_id,
                cycle_start=cycle[0],
                cycle_end=cycle[1],
                lines=tuple(lines),
            )

    def roll_over(self, rollovers: Iterable[Rolled], invoice_id: str, at: datetime) -> None:
        """Record the rollovers of a cycle that closes, and the children they make."""
        for rollover in rollovers:
            self.trigger_event(
                self.RolledOver,
                timestamp=at,
                grant_id=rollover.parent_id,
                at=rollover.at,
                amount=number.plain(rollover.amount),
                forfeited=number.plain(rollover.forfeited),
                child_id=rollover.child and rollover.child.id,
                invoice_id=invoice_id,
            )
            if rollover.child:
                self._grant(rollover.child, None, at)

    def return_burns(self, invoice_id: str, at: datetime) -> None:
        """Take back all burns of an invoice that is void. What was rolled over stays so; nothing happens twice."""
        if any(burn.invoice_id == invoice_id and burn.returned_at is None for burn in self.burns):
            self.trigger_event(self.BurnsReturned, timestamp=at, invoice_id=invoice_id)

    def _check_entry(self, amount: Decimal, idempotency_key: str | None) -> None:
        check_credits(amount, self.precision, "amount")
        if not amount:
            raise Invalid("amount", "must be greater than 0")
        if idempotency_key is not None and idempotency_key in self.used_keys:
            raise Conflict("IDEMPOTENCY_KEY_USED", f"the idempotency key '{idempotency_key}' was used before")

    def _grant(self, grant: Grant, idempotency_key: str | None, at: datetime) -> None:
        self.trigger_event(
            self.Granted,
            timestamp=at,
            grant_id=grant.id,
            amount=number.plain(grant.amount),
            begins=grant.begins,
            expires=grant.expires,
            source_type=grant.source_type,
            source_id=grant.source_id,
            parent_grant_id=grant.parent_grant_id,
            rollover_count=grant.rollover_count,
            rollover=grant.rollover,
            cycle=grant.cycle,
            lasts_until=grant.lasts_until,
            outlives=grant.outlives,
            reason=grant.reason,
            metadata=grant.metadata,
            idempotency_key=idempotency_key,
        )

"""Stories of a business, told as given/when/then; each is played by the domain alone, and through HTTP and PostgreSQL.

A story is a function that writes down steps; nothing happens while it is told. Then each world plays the steps. What is
expected is worked out by hand in the story.

Times are UTC: ``2026-03-05`` or ``2026-03-05 10:30`` or ``2026-03-05 10:30:00.000001``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest

from tests.scenarios.lines import Json, Line, check_document
from tests.scenarios.tariff import Included, MeterTariff, Money, Tariff, money

FIRST_DAY = "2026-03-01"
"""When a story begins, unless it says otherwise."""


class Refused(Exception):
    """A command that the world does not carry out, with its code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Use:
    """One usage event."""

    event_id: str
    customer: str
    event_name: str
    at: datetime
    metadata: Json


class World(Protocol):
    """What plays a story. A command that is refused raises ``Refused``."""

    async def open(self, now: datetime, settings: Json) -> None: ...
    async def meter(self, name: str, event_name: str, aggregation: Json, condition: Json | None) -> None: ...
    async def credits(self, name: str, terms: Json) -> None: ...
    async def product(self, name: str, tariff: Tariff) -> None: ...
    async def customer(self, name: str, zone: str) -> None: ...
    async def subscribe(self, name: str, customer: str, items: Json, anchor: str | None, trial_days: int) -> None: ...
    async def use(self, uses: Sequence[Use]) -> None: ...
    async def void_usage(self, event_ids: Sequence[str]) -> None: ...
    async def move_clock(self, to: datetime) -> None: ...
    async def close(self, subscription: str, start: datetime | None) -> None: ...
    async def reprice(self, product: str, tariff: Tariff, effective: datetime | None) -> None: ...
    async def grant(self, customer: str, credits: str, amount: str, expires: datetime | None) -> None: ...
    async def debit(self, customer: str, credits: str, amount: str) -> None: ...
    async def pay_in(self, customer: str, amount: Money) -> None: ...
    async def void_invoice(self, number: int) -> None: ...
    async def change_plan(self, subscription: str, product: str, mode: str, at_next: bool) -> None: ...
    async def change(self, subscription: str, members: Json) -> None: ...
    async def invoices(self) -> list[Json]: ...
    async def estimate(self, subscription: str, start: datetime | None) -> Json: ...
    async def balance(self, customer: str, credits: str) -> tuple[str, str]: ...
    async def wallet(self, customer: str, currency: str) -> int: ...
    def name_of(self, object_id: str) -> str: ...


def moment(text: str) -> datetime:
    """The instant that a text names, UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


Step = Callable[[World], Awaitable[None]]


class Script:
    """The steps of a story, in order."""

    def __init__(self) -> None:
        self.now = FIRST_DAY
        self.settings: Json = {}
        self.steps: list[Step] = []
        self.sent = 0
        self._told_until = FIRST_DAY

    def add(self, step: Step, refused: str | None = None) -> None:
        """Write down a step; ``refused`` is the code with which it is expected to fail."""

        async def refusing(world: World) -> None:
            with pytest.raises(Refused) as refusal:
                await step(world)
            assert refusal.value.code == refused

        self.steps.append(step if refused is None else refusing)

    def wait_until(self, at: str) -> None:
        """The clock moves to that instant, unless the story has been there already."""
        if moment(at) > moment(self._told_until):
            self._told_until = at
            self.add(lambda world: world.move_clock(moment(at)))

    def begin(self, day: str) -> None:
        """The story begins on another day."""
        self.now = self._told_until = day

    async def play(self, world: World) -> None:
        """Let a world carry out every step."""
        await world.open(moment(self.now), self.settings)
        for step in self.steps:
            await step(world)


class Given:
    """How things stand when the story begins, and what a business sets up on the way."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def today(self, day: str) -> None:
        """The story begins then instead of on 1 March 2026."""
        self._script.begin(day)

    def settings(self, **members: Any) -> None:
        """Settings of the business, as on the wire."""
        self._script.settings.update(members)

    def meter(
        self, name: str, event_name: str, how: str = "count", key: str | None = None, where: Json | None = None
    ) -> None:
        """A meter over events of a name: ``count``, or ``sum`` (and the others) of a metadata key."""
        aggregation = {"type": how} if key is None else {"type": how, "key": key}
        self._script.add(lambda world: world.meter(name, event_name, aggregation, where))

    def credits(self, name: str, **terms: Any) -> None:
        """A kind of credits; the terms are as on the wire."""
        self._script.add(lambda world: world.credits(name, terms))

    def product(
        self, name: str, fee: str = "$0", *prices: MeterTariff, credits: Sequence[Included] = (), **more: Any
    ) -> None:
        """A product: its fixed price, its meters' prices, its credits, ``every`` cycle."""
        tariff = Tariff(fee, prices, tuple(credits), **more)
        self._script.add(lambda world: world.product(name, tariff))

    def customer(self, name: str, zone: str = "UTC") -> None:
        """A customer."""
        self._script.add(lambda world: world.customer(name, zone))

    def subscription(
        self,
        customer: str,
        *products: str,
        anchor: str | None = FIRST_DAY,
        quantity: int = 1,
        trial_days: int = 0,
        named: str | None = None,
        refused: str | None = None,
    ) -> None:
        """A customer's subscription, by default named as the customer; cycles count from the anchor date."""
        items = dict.fromkeys(products, quantity)
        self._script.add(lambda world: world.subscribe(named or customer, customer, items, anchor, trial_days), refused)


class When:
    """What happens."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def usage(
        self, customer: str, event_name: str, at: str, times: int = 1, event_id: str | None = None, **metadata: Any
    ) -> None:
        """Usage, reported as it happens or, when the story is past that, late.

        Several times are several events, ``e1``, ``e2`` and so on through the whole story.
        """
        self._script.wait_until(at)
        first = self._script.sent + 1
        self._script.sent += times
        ids = [event_id] if event_id else [f"e{number}" for number in range(first, first + times)]
        uses = [Use(one, customer, event_name, moment(at), metadata) for one in ids]
        self._script.add(lambda world: world.use(uses))

    def usage_voided(self, *event_ids: str) -> None:
        """Events are retracted."""
        self._script.add(lambda world: world.void_usage(event_ids))

    def time_passes_to(self, at: str) -> None:
        """The clock moves; what is due closes an hour (the grace period) after its end."""
        self._script.wait_until(at)

    def cycle_closes(self, subscription: str = "ada", start: str | None = None, refused: str | None = None) -> None:
        """Somebody closes the earliest open cycle by hand, or the one that starts then."""
        begins = None if start is None else moment(start)
        self._script.add(lambda world: world.close(subscription, begins), refused)

    def price_changes(
        self, product: str, fee: str, *prices: MeterTariff, effective: str | None = None, **more: Any
    ) -> None:
        """A new price version, by default from each subscription's next cycle on."""
        tariff, begins = Tariff(fee, prices, **more), None if effective is None else moment(effective)
        self._script.add(lambda world: world.reprice(product, tariff, begins))

    def credits_granted(self, customer: str, credits: str, amount: int | str, expires: str | None = None) -> None:
        """Credits are given by hand."""
        ends = None if expires is None else moment(expires)
        self._script.add(lambda world: world.grant(customer, credits, str(amount), ends))

    def credits_debited(self, customer: str, credits: str, amount: int | str, refused: str | None = None) -> None:
        """Credits are taken by hand."""
        self._script.add(lambda world: world.debit(customer, credits, str(amount)), refused)

    def wallet_filled(self, customer: str, amount: str) -> None:
        """The customer pays money in."""
        self._script.add(lambda world: world.pay_in(customer, money(amount)))

    def invoice_voided(self, number: int) -> None:
        """An invoice is voided."""
        self._script.add(lambda world: world.void_invoice(number))

    def plan_changes(
        self, subscription: str, product: str, mode: str = "prorated_immediately", at_next_billing_date: bool = False
    ) -> None:
        """The customer goes over to another product."""
        self._script.add(lambda world: world.change_plan(subscription, product, mode, at_next_billing_date))

    def subscription_changes(self, subscription: str, refused: str | None = None, **members: Any) -> None:
        """A change of the subscription, as on the wire: ``status``, ``next_billing_date`` and so on."""
        self._script.add(lambda world: world.change(subscription, members), refused)


class Then:
    """What is to be found."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def invoice(
        self,
        number: int,
        lines: Sequence[Line] | None = None,
        *,
        total: str,
        cycle: tuple[str, str] | None = None,
        subtotal: str | None = None,
        wallet: str | None = None,
        **members: Any,
    ) -> None:
        """The invoice with this number, exactly these lines in this order, and its total."""
        amounts: Json = {"currency": money(total).currency, "total_amount": money(total).whole, **members}
        amounts |= {"subtotal_amount": money(subtotal).whole} if subtotal else {}
        amounts |= {"wallet_amount": money(wallet).whole} if wallet else {}

        async def look(world: World) -> None:
            document = (await world.invoices())[number - 1]
            assert document["number"] == f"INV-{number:06d}"
            check_document(world.name_of, document, lines, cycle, amounts)

        self._script.add(look)

    def invoices(self, count: int) -> None:
        """There are so many invoices, numbered without a gap."""

        async def look(world: World) -> None:
            numbers = [document["number"] for document in await world.invoices()]
            assert numbers == [f"INV-{number:06d}" for number in range(1, count + 1)]

        self._script.add(look)

    def estimate(
        self,
        lines: Sequence[Line] | None = None,
        *,
        total: str,
        subscription: str = "ada",
        start: str | None = None,
        cycle: tuple[str, str] | None = None,
    ) -> None:
        """What closing the cycle would give if nothing more were recorded."""
        begins = None if start is None else moment(start)

        async def look(world: World) -> None:
            document = await world.estimate(subscription, begins)
            assert document["number"] is None
            check_document(world.name_of, document, lines, cycle, {"total_amount": money(total).whole})

        self._script.add(look)

    def credits(self, customer: str, credits: str, balance: int | str, overage: int | str = 0) -> None:
        """What is left of a kind of credits now, and what is outstanding."""

        async def look(world: World) -> None:
            assert await world.balance(customer, credits) == (str(balance), str(overage))

        self._script.add(look)

    def wallet(self, customer: str, amount: str) -> None:
        """The money that the customer has with the business."""
        expected = money(amount)

        async def look(world: World) -> None:
            assert await world.wallet(customer, expected.currency) == expected.whole

        self._script.add(look)


def story(tell: Callable[[Given, When, Then], None]) -> Callable[[World], Awaitable[None]]:
    """A test of the story, played by every world."""

    @pytest.mark.parametrize("world", ["domain", "service"], indirect=True)
    async def played(world: World) -> None:
        script = Script()
        tell(Given(script), When(script), Then(script))
        await script.play(world)

    played.__name__ = tell.__name__
    played.__doc__ = tell.__doc__
    played.__module__ = tell.__module__
    return played

"""Recomputing an invoice from the log, as known at its position, and comparing bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from app.billing import opened_subscription
from app.invoicing import SQL
from app.reckoning import reckon
from domain import instant
from domain.aggregate import Fact
from domain.chain import GENESIS, Commit
from domain.errors import NotFound
from domain.invoice import Invoice, InvoiceNumbers, Issue, number_text
from domain.plan import OpenedCycle
from domain.subscription import Subscription
from domain.tenant import Rules, Tenant, rules_in_force
from projections.aggregates import known
from projections.database import Database
from projections.log_alone import LogAlone
from projections.log_reader import END, commits_after, commits_before, fact_of_version, facts_after

NUMBER_DIGITS_MAX = 18
"""Digits at the end of a number that are looked at: more than a bigint holds number no invoice."""

_DIGITS = re.compile(r"[0-9]+$")


class ReplayedInvoice(msgspec.Struct, frozen=True):
    """A document as the log has it, as what the log held before it gives it, and as the list of invoices shows it.

    ``position`` is where the log ended when it was computed. ``shown`` is ``None`` when the list lacks it.
    """

    invoice_id: str
    position: int
    recorded: str
    recomputed: str
    shown: str | None

    @property
    def proved(self) -> bool:
        """Whether all three are the same bytes."""
        return self.recorded == self.recomputed == self.shown


class Deviation(msgspec.Struct, frozen=True):
    """A field that two documents say differently, as JSON; ``None`` where one lacks it."""

    path: str
    recorded: str | None
    other: str | None


async def replay_invoice(database: Database, rules: Rules, tenant_id: str, name: str) -> ReplayedInvoice:
    """Recompute an invoice, named by its id or its number.

    Everything that it depends on is read from the log up to its position: usage as it was sent, streams of domain
    events. Nothing is written. Raises ``NotFound``.
    """
    invoice_id, position, issued = await _find(database, tenant_id, name)
    (stored,) = await commits_after(database, tenant_id, position - 1, limit=1)
    recomputed = await _recomputed(database, rules, stored.commit, issued)
    shown = await database.fetchrow(SQL["invoice"], tenant_id, invoice_id)
    return ReplayedInvoice(
        invoice_id=invoice_id,
        position=stored.commit.first_position - 1,
        recorded=issued.document,
        recomputed=recomputed,
        shown=None if shown is None else shown["document"],
    )


async def _find(database: Database, tenant_id: str, name: str) -> tuple[str, int, Invoice.Created]:
    """The invoice of an id or a number: its id, its position and the event that issued it. Raises ``NotFound``."""
    found = await fact_of_version(database, tenant_id, Invoice.stream(name), 1)
    if found is None:
        found = await _numbered(database, tenant_id, name)
    if found is None:
        raise NotFound(Invoice.TOPIC, name)
    position, issued = found
    assert isinstance(issued, Invoice.Created)
    return issued.originator_id.partition(":")[2], position, issued


async def _numbered(database: Database, tenant_id: str, number: str) -> tuple[int, Fact] | None:
    """The event that issued the invoice of a number. A prefix may end in digits, so every tail of them is tried."""
    digits = _DIGITS.search(number)
    for length in range(1, min(len(digits[0]), NUMBER_DIGITS_MAX) + 1) if digits else ():
        stream = InvoiceNumbers.stream(InvoiceNumbers.ONLY)
        assigned = await fact_of_version(database, tenant_id, stream, int(number[-length:]))
        if assigned is None:
            continue
        assert isinstance(assigned[1], InvoiceNumbers.Created | InvoiceNumbers.Next)
        found = await fact_of_version(database, tenant_id, Invoice.stream(assigned[1].invoice_id), 1)
        if found is not None and isinstance(found[1], Invoice.Created) and _says_number(found[1], number):
            return found
    return None


def _says_number(issued: Invoice.Created, number: str) -> bool:
    return msgspec.json.decode(issued.document)["number"] == number


async def _recomputed(database: Database, rules: Rules, commit: Commit, issued: Invoice.Created) -> str:
    """The document again: what closing gives where the log ended right before the commit of the invoice.

    From the commit itself come the choices of the close only: whose cycle, the id and the number.
    """
    position, invoice_id = commit.first_position - 1, issued.originator_id.partition(":")[2]
    aggregates = LogAlone(database, commit.tenant_id, issued.timestamp, position)
    placed = await facts_after(database, commit.tenant_id, position, up_to=commit.last_position, limit=END)
    facts = [fact for _, fact in placed]
    number = next(fact.originator_version for fact in facts if _assigns(fact, invoice_id))
    subscription, cycle = await _closed(aggregates, facts, issued, invoice_id)
    reckoning = await reckon(aggregates, subscription, cycle)
    tenant = known(await aggregates.find(Tenant, commit.tenant_id))
    before = await commits_before(database, commit.tenant_id, commit.first_position, 1)
    issue = Issue(
        invoice_id=invoice_id,
        number=number_text(rules_in_force(tenant.settings, rules).number_prefix, number),
        digest=(before[0].commit.digest if before else GENESIS).hex(),
        issued_at=instant.text(issued.timestamp),
    )
    return msgspec.json.encode(await reckoning.document(aggregates, issue)).decode()


def _assigns(fact: Fact, invoice_id: str) -> bool:
    return isinstance(fact, InvoiceNumbers.Created | InvoiceNumbers.Next) and fact.invoice_id == invoice_id


async def _closed(
    aggregates: LogAlone, facts: Sequence[Fact], issued: Invoice.Created, invoice_id: str
) -> tuple[Subscription, OpenedCycle | None]:
    """The subscription of the invoice, its cycles opened as at the close, and the cycle that it closed, if any."""
    for fact in facts:
        if isinstance(fact, Subscription.CycleClosed) and fact.invoice_id == invoice_id:
            subscription = await opened_subscription(aggregates, fact.originator_id.partition(":")[2])
            return subscription, known_cycle(subscription.cycle_starting(fact.start))
    document = msgspec.json.decode(issued.document)
    return await opened_subscription(aggregates, document["subscription_id"]), None


def known_cycle(cycle: OpenedCycle | None) -> OpenedCycle:
    """A cycle that was closed had begun."""
    assert cycle is not None, "the log closes a cycle that it never opened"
    return cycle


def deviations(recorded: str, other: str) -> list[Deviation]:
    """Where two documents differ, field by field; what differs in its bytes only is one deviation of the whole."""
    before, after = dict(_fields("", json.loads(recorded))), dict(_fields("", json.loads(other)))
    found = [
        Deviation(path, before.get(path), after.get(path))
        for path in dict.fromkeys((*before, *after))
        if before.get(path) != after.get(path)
    ]
    return found if found or recorded == other else [Deviation("(the bytes)", recorded, other)]


def _fields(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every field of a JSON value that holds no others, by its path, as JSON."""
    if isinstance(value, dict):
        for key, member in cast("dict[str, Any]", value).items():
            yield from _fields(f"{path}.{key}" if path else key, member)
    elif isinstance(value, list):
        for index, member in enumerate(cast("list[Any]", value)):
            yield from _fields(f"{path}[{index}]", member)
    else:
        yield path, json.dumps(value)

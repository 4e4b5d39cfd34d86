"""The tables of an export: their columns and the types of these. What was written once keeps its meaning for ever."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["text", "integer", "instant", "bytes", "boolean"]
"""``integer`` has 64 bits, ``instant`` is UTC to the microsecond. A decimal is ``text`` in plain notation, exact
whatever its length: no number of ours is ever a binary float."""


class Column(msgspec.Struct, frozen=True):
    """A column, and whether a row may lack a value in it."""

    name: str
    kind: Kind
    nullable: bool = False


class Table(msgspec.Struct, frozen=True):
    """One kind of rows, and the order of their columns."""

    name: str
    columns: tuple[Column, ...]

    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]


def _table(name: str, /, **kinds: str) -> Table:
    """A table of these columns; a kind that ends with ``?`` may be missing."""
    columns = [Column(column, msgspec.convert(kind.rstrip("?"), Kind), "?" in kind) for column, kind in kinds.items()]
    return Table(name, tuple(columns))


COMMITS = _table(
    "commits",
    last_position="integer",
    first_position="integer",
    kind="text",
    batch="text",
    recorded_at="instant",
    origin="bytes",
    root="bytes",
    digest="bytes",
)
USAGE_EVENTS = _table(
    "usage_events",
    position="integer",
    event_id="text",
    event_name="text",
    customer_id="text",
    timestamp="instant",
    metadata="text",
)
DOMAIN_EVENTS = _table(
    "domain_events",
    position="integer",
    originator_id="text",
    originator_version="integer",
    kind="text",
    state="bytes",
)
RETRACTIONS = _table("retractions", position="integer", event_id="text", reason="text")
RETIRED_KEYS = _table("retired_keys", position="integer", event_id="text")
"""The ids of events whose rows are not in this archive, since they were retired before: they stay used."""

REJECTED_EVENTS = _table(
    "rejected_events",
    batch="text",
    ordinal="integer",
    event_id="text?",
    customer_id="text?",
    reason="text",
    problems="text",
    content="text",
    recorded_at="instant",
)
SEALING_KEYS = _table("sealing_keys", customer_id="text", secret="bytes?", destroyed_at="instant?")
API_KEYS = _table(
    "api_keys",
    digest="bytes",
    key_id="text",
    scope="text",
    name="text",
    created_at="instant",
    revoked_at="instant?",
)
INVOICE_LINES = _table(
    "invoice_lines",
    invoice_id="text",
    number="text",
    type="text",
    status="text",
    customer_id="text",
    subscription_id="text",
    currency="text",
    cycle_start="instant",
    cycle_end="instant",
    issued_at="instant",
    position="integer",
    line="integer",
    kind="text",
    product_id="text",
    meter_id="text?",
    description="text",
    consumed_units="text",
    free_units="text",
    credit_units="text",
    paid_units="text",
    price_per_unit="text",
    package_size="text?",
    amount="integer",
    corrects_cycle_start="instant?",
    corrects_cycle_end="instant?",
    detail="text?",
)
CREDIT_LEDGER = _table(
    "credit_ledger",
    credit_entitlement_id="text",
    customer_id="text",
    entry_id="text",
    at="instant",
    type="text",
    grant_id="text?",
    amount="text",
    balance_before="text",
    balance_after="text",
    overage_before="text",
    overage_after="text",
    is_final="boolean",
    reference_type="text?",
    reference_id="text?",
    reason="text?",
    metadata="text",
)
WALLET_LEDGER = _table(
    "wallet_ledger",
    customer_id="text",
    currency="text",
    entry_id="text",
    at="instant",
    type="text",
    amount="integer",
    before_balance="integer",
    after_balance="integer",
    reason="text?",
    idempotency_key="text?",
    reference_object_id="text?",
)

LOG = (COMMITS, USAGE_EVENTS, DOMAIN_EVENTS, RETRACTIONS, RETIRED_KEYS)
"""The log itself: what the chain covers, and the ids that it keeps used."""

BESIDE = (REJECTED_EVENTS,)
"""What is permanent beside the log and can be told to everybody who may read it."""

SECRETS = (SEALING_KEYS, API_KEYS)
"""What is permanent beside the log and secret: part of an archive only when it is asked for."""

DERIVED = (INVOICE_LINES, CREDIT_LEDGER, WALLET_LEDGER)
"""What follows from the log: for people and their tools. An import does not read it."""

BY_NAME = {table.name: table for table in (*LOG, *BESIDE, *SECRETS, *DERIVED)}

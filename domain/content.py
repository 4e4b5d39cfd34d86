"""When two usage events under one id say the same: the line between a duplicate and a conflict."""

from __future__ import annotations

from decimal import Decimal

from domain.event import UsageEvent, read_metadata


def same_content(a: UsageEvent, b: UsageEvent) -> bool:
    """Whether the newcomer ``a`` says what the original ``b`` said, by value.

    Instants compare as instants and metadata as JSON values: ``1``, ``1.0`` and ``1e0`` are one number,
    order and white space do not matter, a number is never equal to a string, absent metadata equals ``{}``.
    A newcomer without a timestamp has the original's timestamp. The two event ids are not compared.
    """
    if a.event_name != b.event_name or a.customer_id != b.customer_id:
        return False
    if a.timestamp is not None and a.timestamp != b.timestamp:
        return False
    return a.metadata == b.metadata or _same_metadata(a.metadata, b.metadata)


def _same_metadata(a: str, b: str) -> bool:
    first, second = read_metadata(a), read_metadata(b)
    return first.keys() == second.keys() and all(_same_value(first[key], second[key]) for key in first)


def _same_value(a: str | bool | Decimal, b: str | bool | Decimal) -> bool:
    # Python holds True == 1, JSON does not: the types have to agree before the values are compared.
    return type(a) is type(b) and a == b

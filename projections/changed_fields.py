"""What a fact changed: each field before it and after it, found by replaying its stream up to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeAlias, cast

import msgspec
from eventsourcing.utils import get_topic

from domain.aggregate import Fact, Opening, Root
from domain.product import Product

SEALED = frozenset({"personal", "billing"})
"""Fields that only a customer's key opens. That they changed is told, what they hold is not."""

SEALED_WORD = "sealed"

VALUE_MAX_CHARS = 2_000
"""A longer text is cut: a company's logo or an invoice's document is found by its position, not read here."""

_EVERY_FACT = frozenset(field.name for kind in (Fact, Opening) for field in fields(kind))

_STANDS_AS = {(Product.Repriced.TOPIC, "price"): "newest_price"}
"""Fields that are called otherwise where an aggregate holds them."""

Value: TypeAlias = Any
"""Plain JSON: text, a number, a boolean, a list, an object or null."""


Members: TypeAlias = dict[str, Value]
"""A JSON object."""


class FieldChange(msgspec.Struct, frozen=True):
    """A field, and its value before and after; ``None`` where there was none."""

    field: str
    before: Value
    after: Value


def own_fields(fact: Fact) -> list[FieldChange]:
    """What a fact says by itself, where nothing of it was there before: an entry of a ledger, a new object."""
    return list(_differences({}, _said(fact)))


def changes_of(facts: Sequence[Fact], wanted: Collection[int]) -> dict[int, list[FieldChange]]:
    """What those facts of a stream changed whose versions are ``wanted``; ``facts`` are the stream from its first on.

    Beside what a fact says, plain values of the aggregate that it turned are told: that a meter is archived, or how a
    subscription stands.
    """
    found: dict[int, list[FieldChange]] = {}
    state: Root | None = None
    for fact in facts:
        if fact.originator_version not in wanted:
            state = fact.mutate(state)
            continue
        said = _said(fact)
        before = _held(state, fact, said)
        turned = _plain(state)
        state = fact.mutate(state)
        now = _plain(state) if turned else {}
        found[fact.originator_version] = list(_differences(turned | before, now | said))
    return found


def _said(fact: Fact) -> dict[str, Any]:
    return {one.name: getattr(fact, one.name) for one in fields(fact) if one.name not in _EVERY_FACT}


def _held(state: Root | None, fact: Fact, said: Mapping[str, Any]) -> dict[str, Any]:
    """What the aggregate held before in place of what the fact says."""
    names = {name: _STANDS_AS.get((get_topic(type(fact)), name), name) for name in said}
    return {name: _value(getattr(state, held, None)) for name, held in names.items()}


def _plain(state: Root | None) -> dict[str, Any]:
    held = vars(state) if state is not None else {}
    return {
        name: value
        for name, value in held.items()
        if not name.startswith("_") and (value is None or isinstance(value, str | bool | int | datetime))
    }


def _value(value: Any) -> Value:
    return msgspec.json.decode(msgspec.json.encode(value))


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[FieldChange]:
    for name, raw in after.items():
        old, new = _value(before.get(name)), _value(raw)
        if old == new:
            continue
        if name in SEALED:
            yield FieldChange(name, SEALED_WORD if old else None, SEALED_WORD if new else None)
        elif isinstance(new, dict) and isinstance(old, dict | None):
            yield from _members(name, cast("Members", old or {}), cast("Members", new))
        else:
            yield FieldChange(name, _cut(old), _cut(new))


def _members(name: str, old: Members, new: Members) -> Iterator[FieldChange]:
    """The members of an object that differ, each by itself: of a price or of settings only some change."""
    for member in dict.fromkeys((*old, *new)):
        if old.get(member) != new.get(member):
            yield FieldChange(f"{name}.{member}", _cut(old.get(member)), _cut(new.get(member)))


def _cut(value: Value) -> Value:
    if isinstance(value, dict):
        return {name: _cut(one) for name, one in cast("Members", value).items()}
    return f"{value[:VALUE_MAX_CHARS]}…" if isinstance(value, str) and len(value) > VALUE_MAX_CHARS else value

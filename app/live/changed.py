"""What is different between two states of one customer, as one of its sockets sees them."""

from __future__ import annotations

from typing import NamedTuple

from app.live.held import differs
from app.live.standing import CycleStanding, Standing


class Difference(NamedTuple):
    """Whether a cycle is no longer there, and the indexes of those that are new or show other values."""

    gone: bool
    indexes: tuple[int, ...]


def listed(standing: Standing, subscription_id: str | None) -> tuple[int, ...]:
    """The indexes of a subscription's cycles; without one, of all."""
    if subscription_id is None:
        return tuple(range(len(standing.cycles)))
    return tuple(index for index, cycle in enumerate(standing.cycles) if cycle.subscription_id == subscription_id)


def difference(before: Standing, after: Standing, subscription_id: str | None) -> Difference:
    """What makes ``after`` another state than ``before`` for who sees a subscription or, without one, all.

    Time alone may change a value, at a position that was shown before: then the values themselves are compared.
    """
    known = {
        _key(before.cycles[index]): (before.cycles[index], before.changed[index])
        for index in listed(before, subscription_id)
    }
    shown = listed(after, subscription_id)
    indexes = [index for index in shown if _is_new(known.pop(_key(after.cycles[index]), None), after, index)]
    return Difference(gone=bool(known), indexes=tuple(indexes))


def _is_new(known: tuple[CycleStanding, int] | None, after: Standing, index: int) -> bool:
    if known is None:
        return True
    cycle, changed = known
    if cycle is after.cycles[index]:
        return False
    return after.changed[index] > changed or differs(cycle, after.cycles[index])


def _key(cycle: CycleStanding) -> tuple[str, str]:
    return cycle.subscription_id, cycle.cycle_start

"""What is different between two states of one customer, as one of its sockets sees them."""

from __future__ import annotations

from app.live.held import differs
from app.live.standing import CycleStanding, Standing


def listed(standing: Standing, subscription_id: str | None) -> tuple[int, ...]:
    """The indexes of a subscription's cycles; without one, of all."""
    if subscription_id is None:
        return tuple(range(len(standing.cycles)))
    return tuple(index for index, cycle in enumerate(standing.cycles) if cycle.subscription_id == subscription_id)


def gone(before: Standing, after: Standing, subscription_id: str | None) -> bool:
    """Whether a cycle of the subscription, or of any, is no longer there."""
    there = [_key(cycle) for cycle in after.cycles]
    return any(_key(before.cycles[index]) not in there for index in listed(before, subscription_id))


def changed_cycles(before: Standing, after: Standing, indexes: tuple[int, ...]) -> tuple[int, ...]:
    """Those of the ``indexes`` of ``after`` whose cycles are new or show other values.

    Time alone may change a value, at a position that was shown before: then the values themselves are compared.
    """
    known = {_key(cycle): (cycle, before.changed[index]) for index, cycle in enumerate(before.cycles)}
    return tuple(index for index in indexes if _is_new(known.get(_key(after.cycles[index])), after, index))


def _is_new(known: tuple[CycleStanding, int] | None, after: Standing, index: int) -> bool:
    if known is None:
        return True
    cycle, changed = known
    if cycle is after.cycles[index]:
        return False
    return after.changed[index] > changed or differs(cycle, after.cycles[index])


def _key(cycle: CycleStanding) -> tuple[str, str]:
    return cycle.subscription_id, cycle.cycle_start

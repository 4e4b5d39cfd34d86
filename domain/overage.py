"""Overage: credits that were used and not covered, counted up to a limit, and repaid by later grants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal

import msgspec

from domain import number
from domain.burn import LineKey, StandingLine
from domain.claim import Claim
from domain.entitlement import OverageBehavior

ZERO = Decimal(0)


class Repayer(msgspec.Struct, frozen=True):
    """A grant that begins later, and how much of it final draws leave."""

    begins: datetime
    free: Decimal


class Outstanding:
    """What is outstanding at one place in the order of claims, which its user walks through.

    ``kept`` is the part that stays, ``due`` the part that grants repay. What does not carry is counted per cycle.
    """

    def __init__(self, lines: Mapping[LineKey, StandingLine]) -> None:
        """``lines`` is what invoices counted; each has its place at the end of its cycle."""
        self.kept = ZERO
        self.due = ZERO
        self._cycles: dict[tuple[str, datetime], Decimal] = {}
        self._later = {key: line for key, line in lines.items() if line.overage > 0}

    def places(self) -> list[tuple[datetime, LineKey]]:
        """Where the invoiced lines stand in the order."""
        return [(line.cycle_end, key) for key, line in self._later.items()]

    def enter(self, key: LineKey) -> None:
        """Come to the place of an invoiced line."""
        line = self._later.pop(key, None)
        if line is not None:
            self._add(key, line.overage_behavior, line.overage)

    def count(self, claim: Claim, uncovered: Decimal, repayers: Iterable[Repayer]) -> Decimal:
        """Come to a claim: how much of what is uncovered counts. What was invoiced for the line before is forgotten."""
        key, terms = claim.key.line_key, claim.overage
        self._later.pop(key, None)
        if terms is None or claim.waive_uncovered:
            return ZERO
        counted = uncovered
        if terms.limit is not None:
            if terms.behavior.carries:
                room = self._carrying_room(terms.behavior, terms.limit, repayers)
            else:
                room = number.minus(terms.limit, self._in_cycle(key))
            counted = max(ZERO, min(uncovered, room))
        self._add(key, terms.behavior, counted)
        return counted

    def repay(self, free: Decimal) -> Decimal:
        """Come to the beginning of a grant: how much of it goes into what is due."""
        repaid = max(ZERO, min(self.due, free))
        self.due = number.minus(self.due, repaid)
        return repaid

    def _add(self, key: LineKey, behavior: OverageBehavior | None, credits_counted: Decimal) -> None:
        if behavior is OverageBehavior.carry_deficit_auto_repay:
            self.due = number.plus(self.due, credits_counted)
        elif behavior is OverageBehavior.carry_deficit:
            self.kept = number.plus(self.kept, credits_counted)
        else:
            cycle = (key.subscription_id, key.cycle_start)
            self._cycles[cycle] = number.plus(self._cycles.get(cycle, ZERO), credits_counted)

    def _in_cycle(self, key: LineKey) -> Decimal:
        """What counts in a line's cycle so far, with what invoices counted for its other lines."""
        cycle = (key.subscription_id, key.cycle_start)
        invoiced = number.total(
            line.overage
            for other, line in self._later.items()
            if (other.subscription_id, other.cycle_start) == cycle and not _carries(line)
        )
        return number.plus(self._cycles.get(cycle, ZERO), invoiced)

    def _carrying_room(self, behavior: OverageBehavior, limit: Decimal, repayers: Iterable[Repayer]) -> Decimal:
        """How much may be added here: neither now nor at a later invoiced line may more than the limit be outstanding.

        What is added here shrinks on the way to a later line by what the grants between have left after repaying.
        """
        kept, due, repaid = self.kept, self.due, ZERO
        room = number.minus(limit, number.plus(kept, due))
        for line, free in self._ahead(repayers):
            if line is None:
                share = min(due, free)
                due = number.minus(due, share)
                if behavior is OverageBehavior.carry_deficit_auto_repay:
                    repaid = number.plus(repaid, number.minus(free, share))
                continue
            if line.overage_behavior is OverageBehavior.carry_deficit_auto_repay:
                due = number.plus(due, line.overage)
            else:
                kept = number.plus(kept, line.overage)
            beside = max(ZERO, number.minus(limit, number.plus(kept, due)))
            room = min(room, number.plus(beside, repaid))
        return room

    def _ahead(self, repayers: Iterable[Repayer]) -> Iterator[tuple[StandingLine | None, Decimal]]:
        """The invoiced lines that carry and the grants that repay, in order; at one instant the lines come first."""
        lines = ((line.cycle_end, 0, line, ZERO) for line in self._later.values() if _carries(line))
        grants = ((one.begins, 1, None, max(ZERO, one.free)) for one in repayers)
        for _, _, line, free in sorted([*lines, *grants], key=lambda event: event[:2]):
            yield line, free


def _carries(line: StandingLine) -> bool:
    return line.overage_behavior is not None and line.overage_behavior.carries

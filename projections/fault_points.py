"""Fault points: named places where a run can be made to die, to fail or to wait, so that tests see what survives it.

Nothing happens at them unless the environment arms them (docs/decisions/0023-faults.md). They lie where a transaction,
an answer or a checkpoint could be torn; the pure domain has none, since nothing of it can be half done.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import NoReturn

import msgspec

LOG = logging.getLogger("taximeter.faults")

FAULTS = "TAXIMETER_FAULTS"
"""What is armed: ``POINT=ACTION[:SECONDS][@CHANCE]``, several with commas. Unset, nothing is."""

SEED = "TAXIMETER_FAULTS_SEED"
"""Where the dice begin, any text: with the same seed a process rolls the same."""

CHANCES = 1_000_000
"""A chance is counted in millionths, which are whole."""

DELAY_SECONDS_MAX = 600
"""Past every time limit of the service: who waits longer is not slow but gone."""

JUMP_DAYS_MAX = 3_653
"""A clock that is off by ten years was set wrong; one that is off by more is no clock."""

MILLISECONDS = 1_000

_FAULT = re.compile(r"([a-z_.]+)=([a-z]+)(?::(-?\d+(?:\.\d+)?))?(?:@(\d+(?:\.\d+)?))?", re.ASCII)


class FaultPoint(StrEnum):
    """Every fault point. A name says what has just happened there, or is about to."""

    ingest_window = "ingest.window"
    ingest_answer = "ingest.answer"
    append_begin = "append.begin"
    append_copying = "append.copying"
    append_keys_copied = "append.keys_copied"
    append_copied = "append.copied"
    append_sealed = "append.sealed"
    append_rejected = "append.rejected"
    append_taken = "append.taken"
    append_committed = "append.committed"
    doorbell_ring = "doorbell.ring"
    command_begin = "command.begin"
    command_locked = "command.locked"
    command_appended = "command.appended"
    command_recorded = "command.recorded"
    command_committed = "command.committed"
    void_retracted = "void.retracted"
    sealing_key_made = "sealing.key_made"
    page_claimed = "page.claimed"
    page_folded = "page.folded"
    page_advanced = "page.advanced"
    page_committed = "page.committed"
    projector_listening = "projector.listening"
    partition_make = "partition.make"
    scheduler_tick = "scheduler.tick"
    close_projected = "close.projected"
    close_caught_up = "close.caught_up"
    close_reckoned = "close.reckoned"
    close_numbered = "close.numbered"
    close_burned = "close.burned"
    close_settled = "close.settled"
    close_issued = "close.issued"
    credit_granted = "credit.granted"
    cycle_opened = "cycle.opened"
    clock_moved = "clock.moved"
    clock_read = "clock.read"
    alert_seen = "alert.seen"
    alert_fired = "alert.fired"
    alert_looked = "alert.looked"
    live_read = "live.read"
    live_offer = "live.offer"
    rebuild_created = "rebuild.created"
    rebuild_followed = "rebuild.followed"
    rebuild_compared = "rebuild.compared"
    rebuild_dropped = "rebuild.dropped"
    rebuild_swapped = "rebuild.swapped"
    export_span = "export.span"
    export_written = "export.written"
    import_span = "import.span"
    import_written = "import.written"
    retire_dropped = "retire.dropped"
    migration_locked = "migration.locked"
    migration_applied = "migration.applied"


class Action(StrEnum):
    """What may happen at a point."""

    kill = "kill"
    fail = "raise"
    delay = "delay"
    jump = "jump"


class FaultError(Exception):
    """What is armed cannot be understood; the message names it."""


class InjectedFault(Exception):
    """What ``raise`` raises: no error that any code expects."""


class Fault(msgspec.Struct, frozen=True):
    """One armed fault: ``milliseconds`` of delay, or of a clock's jump, and ``chance`` in millionths."""

    action: Action
    milliseconds: int
    chance: int


_NO_JUMP = timedelta()
_POINTS = frozenset(FaultPoint)
_ACTIONS = frozenset(Action)
_armed: dict[FaultPoint, tuple[Fault, ...]] = {}
_dice = Random()


def arm(environment: Mapping[str, str], role: str) -> None:
    """Arm what the environment says, and say so loudly; without it, nothing.

    ``role`` makes the dice of processes with one seed differ. Raises ``FaultError``: a mistyped fault that never comes
    would prove nothing.
    """
    _armed.clear()
    _armed.update(read_faults(environment.get(FAULTS, "")))
    if not _armed:
        return
    seed = environment.get(SEED, "")
    _dice.seed(f"{seed} {role}")
    LOG.warning(
        "FAULTS ARE ARMED in %s (process %s): %s with seed '%s'. This service will break on purpose; unset %s",
        role,
        os.getpid(),
        environment[FAULTS],
        seed,
        FAULTS,
    )


def read_faults(text: str) -> dict[FaultPoint, tuple[Fault, ...]]:
    """The faults of a setting, by their points. Raises ``FaultError``."""
    found: dict[FaultPoint, tuple[Fault, ...]] = {}
    for one in filter(None, map(str.strip, text.split(","))):
        point, fault = _read_fault(one)
        found[point] = (*found.get(point, ()), fault)
    return found


def _read_fault(text: str) -> tuple[FaultPoint, Fault]:
    matched = _FAULT.fullmatch(text)
    if matched is None:
        raise FaultError(f"{FAULTS}: '{text}' is no fault; write POINT=ACTION, POINT=ACTION:SECONDS@CHANCE")
    name, what, seconds, chance = matched.groups()
    if name not in _POINTS:
        raise FaultError(f"{FAULTS}: there is no fault point '{name}'; there are {', '.join(FaultPoint)}")
    if what not in _ACTIONS:
        raise FaultError(f"{FAULTS}: '{what}' is nothing that can happen; there are {', '.join(Action)}")
    point, action = FaultPoint(name), Action(what)
    if (action is Action.jump) != (point is FaultPoint.clock_read):
        raise FaultError(f"{FAULTS}: '{text}': the clock alone can jump, and can do nothing else")
    if (seconds is not None) != (action in (Action.delay, Action.jump)):
        raise FaultError(f"{FAULTS}: '{text}': a delay and a jump have their seconds, and nothing else has")
    length = Decimal(seconds or 0)
    if action is Action.delay and not 0 <= length <= DELAY_SECONDS_MAX:
        raise FaultError(f"{FAULTS}: '{text}': a delay lasts up to {DELAY_SECONDS_MAX} seconds")
    if abs(length) > timedelta(days=JUMP_DAYS_MAX) // timedelta(seconds=1):
        raise FaultError(f"{FAULTS}: '{text}': a clock jumps by up to {JUMP_DAYS_MAX} days")
    if not 0 < Decimal(chance or 1) <= 1:
        raise FaultError(f"{FAULTS}: '{text}': a chance is above 0 and at most 1")
    return point, Fault(action, int(length * MILLISECONDS), max(1, int(Decimal(chance or 1) * CHANCES)))


async def reach(point: FaultPoint) -> None:
    """Let happen what is armed at this point: nothing, unless somebody asked for it."""
    if not _armed:
        return
    for fault in _rolled(point):
        await _happen(point, fault)


async def halfway(point: FaultPoint, content: bytes) -> AsyncIterator[bytes]:
    """The bytes, with what is armed at this point happening after the first half of them."""
    if point not in _armed:
        yield content
        return
    middle = len(content) // 2
    yield content[:middle]
    await reach(point)
    yield content[middle:]


def clock_jump() -> timedelta:
    """How far this process's clock is off: nothing, unless somebody asked for it."""
    if not _armed:
        return _NO_JUMP
    jumps = _rolled(FaultPoint.clock_read)
    for jump in jumps:
        _tell(FaultPoint.clock_read, jump)
    return timedelta(milliseconds=sum(jump.milliseconds for jump in jumps))


def _rolled(point: FaultPoint) -> list[Fault]:
    return [fault for fault in _armed.get(point, ()) if _dice.randrange(CHANCES) < fault.chance]


async def _happen(point: FaultPoint, fault: Fault) -> None:
    _tell(point, fault)
    if fault.action is Action.kill:
        _die()
    if fault.action is Action.fail:
        raise InjectedFault(f"the fault point {point} raises")
    await asyncio.sleep(fault.milliseconds / MILLISECONDS)


def _tell(point: FaultPoint, fault: Fault) -> None:
    LOG.warning("fault at %s: %s", point, fault.action)


def _die() -> NoReturn:
    """End as by a power cut: no handler, no farewell to the database, nothing flushed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")

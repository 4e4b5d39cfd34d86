"""Whose turn it is: everybody with something to do does some of it, one after the other, in one place of the process.

A task for each of thousands would cost more to switch to than the little that each has to do.
"""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar

BREATHE_SECONDS = 0.005
"""How long turns are given before everybody else in this process gets one."""


class Speaker(Protocol):
    """Somebody who takes turns."""

    def speak(self) -> None:
        """Do what can be done without waiting, and ask for another turn if more is to be done. Raises nothing."""
        ...


S = TypeVar("S", bound=Speaker)


class Turns(Generic[S]):
    """Those who asked for a turn, in the order in which they did."""

    def __init__(self) -> None:
        self._asked: dict[S, None] = {}
        self._called = False

    def add(self, one: S) -> None:
        """Ask for a turn. Who has asked already has one coming."""
        self._asked[one] = None
        self._call()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        self._called = False
        clock = asyncio.get_running_loop().time
        until = clock() + BREATHE_SECONDS
        while self._asked:
            one = next(iter(self._asked))
            del self._asked[one]
            one.speak()
            if clock() >= until:
                break
        if self._asked:
            self._call()

"""Proving many leaves of one Merkle tree at once: the nodes that their paths share are told once.

The tree is walked from left to right in memory that grows with its height. A multiproof is the list of the greatest
subtrees that hold no shown leaf, in order; with the shown leaves they make the root (RFC 9162 section 2.1), and in one
way only.
"""

from __future__ import annotations

from typing import TypeAlias

from domain.tree import join

_Subtree: TypeAlias = tuple[int, int, bytes]
"""A whole subtree: its first leaf, how many it has, and its node. No class, since one is made for each leaf."""


class Walk:
    """A walk over the hashed leaves of a tree, some of which are shown."""

    def __init__(self) -> None:
        self.place = 0
        self._between: list[_Subtree] = []

    def pass_by(self, hashed: bytes) -> None:
        """Come to a leaf that is not shown."""
        start, size, node, between = self.place, 1, hashed, self._between
        while between and between[-1][1] == size and not between[-1][0] & size:
            start, _, left = between.pop()
            size, node = 2 * size, join(left, node)
        between.append((start, size, node))
        self.place += 1

    def show(self) -> list[bytes]:
        """Come to a leaf that is shown: the nodes between it and the shown one before it."""
        nodes = [node for _, _, node in self._between]
        self._between.clear()
        self.place += 1
        return nodes

    def end(self) -> list[bytes]:
        """The tree ends here: the nodes after the last shown leaf. What is cut off at the end is a subtree too."""
        left = self._between
        while len(left) > 1 and not left[-2][0] & left[-2][1]:
            _, _, newest = left.pop()
            start, size, before = left.pop()
            left.append((start, 2 * size, join(before, newest)))
        return [node for _, _, node in left]

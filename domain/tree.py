"""Merkle trees over hashed leaves: growing one leaf by leaf, and proving that a leaf is in one (RFC 9162 section 2.1).

A commit's root is such a tree over its events (`domain.chain`); a signed head has one over the digests of all commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from domain.chain import NODE, leaf, merkle_root


class Frontier:
    """A tree that grows at its end, in memory that grows with its height alone."""

    def __init__(self) -> None:
        self.size = 0
        self._whole: list[bytes] = []

    def append(self, hashed: bytes) -> None:
        """Add a hashed leaf."""
        node, joins = hashed, self.size
        while joins & 1:
            node = join(self._whole.pop(), node)
            joins >>= 1
        self._whole.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far. Raises ``ValueError`` when there is none."""
        if not self._whole:
            raise ValueError("a Merkle tree needs at least one leaf")
        node = self._whole[-1]
        for whole in reversed(self._whole[:-1]):
            node = join(whole, node)
        return node


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The nodes that prove a hashed leaf, from its neighbour upwards. Raises ``IndexError`` when it is not there."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*path(leaves[:split], index), merkle_root(leaves[split:])]
    return [*path(leaves[split:], index - split), merkle_root(leaves[:split])]


def root_by_path(hashed: bytes, index: int, size: int, nodes: Sequence[bytes]) -> bytes:
    """The root of a tree of ``size`` leaves whose leaf ``index`` is this one, if the nodes are right.

    Raises ``ValueError`` when no tree of that size has such a leaf or a path of that length.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    node, place, last = hashed, index, size - 1
    for neighbour in nodes:
        if not last:
            raise ValueError("the path is longer than the tree is high")
        if place & 1 or place == last:
            node = join(neighbour, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = join(node, neighbour)
        place, last = place >> 1, last >> 1
    if last:
        raise ValueError("the path is shorter than the tree is high")
    return node


def commit_leaf(digest: bytes) -> bytes:
    """The hashed leaf of a commit in the tree over all commits of a tenant."""
    return leaf(digest)


def join(left: bytes, right: bytes) -> bytes:
    """The node above two nodes."""
    return sha256(NODE + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below a size of 2 or more."""
    return 1 << (size - 1).bit_length() - 1

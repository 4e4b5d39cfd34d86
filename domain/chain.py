"""The hash chain of a tenant's log: leaves, Merkle roots, commit headers and digests.

Every byte layout here is for ever. A new layout gets a new version tag beside the old one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256

import msgspec

from domain import instant

DIGEST_BYTES = 32
GENESIS = bytes(DIGEST_BYTES)
"""The digest before a tenant's first commit."""

COMMIT_TAG = b"taximeter.commit.v1"
FACT_VERSION = 1
RETRACTION_VERSION = 1

NODE = b"\x01"
"""What a node's hash begins with, so that no node can be taken for a leaf (RFC 9162 section 2.1.1)."""

_LEAF = b"\x00"

# Copies of a hash that has its prefix cost a tenth less than new ones, and an audit makes two for each event.
_LEAF_BEGUN, _NODE_BEGUN = sha256(_LEAF), sha256(NODE)
_LENGTH = struct.Struct(">I")
FACT_HEADER = struct.Struct(">BIqII")
"""What the canonical bytes of a domain event begin with; its stream, its kind and its state follow."""

RETRACTION_HEADER = struct.Struct(">BII")
"""What the canonical bytes of a retraction begin with; the event's id and the reason follow."""

_SPAN = struct.Struct(">qqq")


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One append to the log: positions ``first_position`` to ``last_position``, sealed at ``recorded_at``."""

    tenant_id: str
    kind: str
    first_position: int
    last_position: int
    recorded_at: datetime
    root: bytes
    origin: bytes
    digest: bytes


def leaf(content: bytes) -> bytes:
    """The hash of one event's canonical bytes (RFC 9162 section 2.1.1: a leaf is prefixed with 0x00)."""
    return sha256(_LEAF + content).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over hashed leaves as RFC 9162 defines it.

    Joining neighbours level by level and carrying an odd last node up unchanged gives the same tree as the RFC's
    recursive split at the largest power of two. Raises ``ValueError`` when there is no leaf: no commit is empty.
    """
    if not leaves:
        raise ValueError("a Merkle tree needs at least one leaf")
    level, begun = list(leaves), _NODE_BEGUN.copy
    while len(level) > 1:
        joined = list[bytes]()
        for left, right in zip(level[::2], level[1::2], strict=False):
            hashing = begun()
            hashing.update(left + right)
            joined.append(hashing.digest())
        if len(level) % 2:
            joined.append(level[-1])
        level = joined
    return level[0]


def leaves_of(contents: Iterable[bytes]) -> list[bytes]:
    """The leaf of each of these events, given by their canonical bytes."""
    leaves, begun = list[bytes](), _LEAF_BEGUN.copy
    for content in contents:
        hashing = begun()
        hashing.update(content)
        leaves.append(hashing.digest())
    return leaves


def root_of(contents: Iterable[bytes]) -> bytes:
    """The Merkle root of events given by their canonical bytes, in position order."""
    return merkle_root(leaves_of(contents))


def canonical_fact(originator_id: str, originator_version: int, kind: str, state: bytes) -> bytes:
    """The canonical bytes of a domain event: version, lengths and version number, then the three bodies."""
    stream, name = originator_id.encode(), kind.encode()
    header = FACT_HEADER.pack(FACT_VERSION, len(stream), originator_version, len(name), len(state))
    return b"".join((header, stream, name, state))


def canonical_retraction(event_id: str, reason: str) -> bytes:
    """The canonical bytes of a retraction: version, the lengths of both texts, then the event's id and the reason.

    The id alone names the event, for it is unique in the tenant's log for ever. Without a reason the text is empty.
    """
    retracted, why = event_id.encode(), reason.encode()
    return b"".join((RETRACTION_HEADER.pack(RETRACTION_VERSION, len(retracted), len(why)), retracted, why))


def header(
    *, kind: str, tenant_id: str, first: int, last: int, recorded_at: datetime, root: bytes, origin: bytes
) -> bytes:
    """The bytes of a commit that its digest covers; ``log.header`` builds the same in the database."""
    name, tenant = kind.encode(), tenant_id.encode()
    return b"".join(
        (
            COMMIT_TAG,
            _LENGTH.pack(len(name)),
            name,
            _LENGTH.pack(len(tenant)),
            tenant,
            _SPAN.pack(first, last, instant.micros(recorded_at)),
            root,
            _LENGTH.pack(len(origin)),
            origin,
        )
    )


def extend(previous: bytes, commit_header: bytes) -> bytes:
    """The digest of a commit: SHA-256 over the digest before it and its header."""
    return sha256(previous + commit_header).digest()


def digest_of(previous: bytes, commit: Commit) -> bytes:
    """What ``commit.digest`` has to be, given the digest of the commit before it."""
    return extend(
        previous,
        header(
            kind=commit.kind,
            tenant_id=commit.tenant_id,
            first=commit.first_position,
            last=commit.last_position,
            recorded_at=commit.recorded_at,
            root=commit.root,
            origin=commit.origin,
        ),
    )

"""Sealing personal fields: AES-256-GCM with a key per customer. Destroying the key erases the person."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from projections.database import Database, Row
from projections.fault_points import FaultPoint, reach
from projections.statements import load

SQL = load("app.sql", "customer_key.sql")

_NONCE_BYTES = 12
_FIRST_FORM = b"\x01"
"""Fields sealed before keys could be destroyed: nonce, then AES-256-GCM with the customer id as associated data."""

_FORM = b"\x02"
"""The first byte of what is sealed now: the key's mark, the nonce, then AES-256-GCM over the fields as JSON. All that
stands before the nonce, and the customer's id, are the associated data."""

_MARK_BYTES = 8
"""The mark of a key is the beginning of its SHA-256: it tells a customer's keys apart, and nothing of the key."""


class SealingKey(msgspec.Struct, frozen=True):
    """A customer's key. ``secret`` is ``None`` while there is none; ``erased_at`` is when one was last destroyed."""

    secret: bytes | None
    erased_at: datetime | None = None


async def key_for(database: Database, tenant_id: str, customer_id: str) -> SealingKey:
    """The key to seal a customer's fields with; made now if there is none, or if the last one was destroyed.

    To be called under the tenant's head: a key that is being destroyed meanwhile must not be handed out.
    """
    await database.execute(SQL["create"], tenant_id, customer_id, secrets.token_bytes(32))
    await reach(FaultPoint.sealing_key_made)
    return (await keys_of(database, tenant_id, [customer_id]))[customer_id]


async def keys_of(database: Database, tenant_id: str, customer_ids: Sequence[str]) -> dict[str, SealingKey]:
    """The keys of these customers. One that never had a key is missing; one that was erased is there without secret."""
    rows = await database.fetch(SQL["find"], tenant_id, customer_ids)
    return {row["customer_id"]: _key(row) for row in rows}


def _key(row: Row) -> SealingKey:
    return SealingKey(row["secret"], row["destroyed_at"])


async def destroy_key(database: Database, tenant_id: str, customer_id: str, at: datetime) -> bool:
    """Destroy the customer's key; whether there was one. What it sealed is unreadable once this is committed."""
    return await database.fetchval(SQL["destroy"], tenant_id, customer_id, at) is not None


def seal(key: SealingKey, customer_id: str, fields: Mapping[str, object]) -> str:
    """The fields as sealed base64 text."""
    assert key.secret is not None, "a key to seal with comes from key_for"
    nonce, begin = secrets.token_bytes(_NONCE_BYTES), _FORM + _mark(key.secret)
    sealed = AESGCM(key.secret).encrypt(nonce, msgspec.json.encode(fields), begin + customer_id.encode())
    return base64.b64encode(begin + nonce + sealed).decode()


def unseal(key: SealingKey | None, customer_id: str, sealed: str) -> dict[str, object]:
    """The fields again; empty when the key that sealed them is gone. Raises ``ValueError`` for text tampered with."""
    if key is None or key.secret is None or not sealed:
        return {}
    raw = base64.b64decode(sealed)
    form, body = raw[:1], 1
    if form == _FORM:
        body += _MARK_BYTES
        if raw[1:body] != _mark(key.secret):
            # Sealed with a key that was destroyed, and the customer has had another one since.
            return {}
    elif form != _FIRST_FORM:
        raise ValueError(f"the sealed fields of customer '{customer_id}' have an unknown version")
    bound = raw[:body] if form == _FORM else b""
    nonce, text = raw[body : body + _NONCE_BYTES], raw[body + _NONCE_BYTES :]
    try:
        fields = AESGCM(key.secret).decrypt(nonce, text, bound + customer_id.encode())
    except InvalidTag:
        if form == _FIRST_FORM and key.erased_at is not None:
            # That form does not name its key, which may be the one that was destroyed.
            return {}
        raise ValueError(f"the sealed fields of customer '{customer_id}' do not open with their key") from None
    return msgspec.json.decode(fields, type=dict[str, object])


def _mark(secret: bytes) -> bytes:
    return sha256(secret).digest()[:_MARK_BYTES]

"""Sealing personal fields: AES-256-GCM with a key per customer. Destroying the key erases the person."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from projections.database import Database
from projections.statements import load

SQL = load("app.sql", "customer_key.sql")

_NONCE_BYTES = 12
_VERSION = b"\x01"
"""The first byte of a sealed field: AES-256-GCM, 12-byte nonce, customer id as associated data."""


async def key_for(database: Database, tenant_id: str, customer_id: str) -> bytes:
    """The customer's key, made now if there is none. Raises ``ValueError`` when it was destroyed."""
    await database.execute(SQL["create"], tenant_id, customer_id, secrets.token_bytes(32))
    secret = (await keys_of(database, tenant_id, [customer_id])).get(customer_id)
    if secret is None:
        raise ValueError(f"the key of customer '{customer_id}' was destroyed")
    return secret


async def keys_of(database: Database, tenant_id: str, customer_ids: list[str]) -> dict[str, bytes]:
    """The keys of these customers; one whose key was destroyed is missing."""
    rows = await database.fetch(SQL["find"], tenant_id, customer_ids)
    return {row["customer_id"]: row["secret"] for row in rows}


def seal(key: bytes, customer_id: str, fields: Mapping[str, object]) -> str:
    """The fields as sealed base64 text."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, msgspec.json.encode(fields), customer_id.encode())
    return base64.b64encode(_VERSION + nonce + sealed).decode()


def unseal(key: bytes | None, customer_id: str, sealed: str) -> dict[str, object]:
    """The fields again; empty when the key was destroyed. Raises ``ValueError`` when the text was tampered with."""
    if key is None or not sealed:
        return {}
    raw = base64.b64decode(sealed)
    if raw[:1] != _VERSION:
        raise ValueError(f"the sealed fields of customer '{customer_id}' have an unknown version")
    nonce, body = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
    try:
        fields = AESGCM(key).decrypt(nonce, body, customer_id.encode())
    except InvalidTag:
        raise ValueError(f"the sealed fields of customer '{customer_id}' do not open with their key") from None
    return msgspec.json.decode(fields, type=dict[str, object])

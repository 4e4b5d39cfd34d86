"""What opens the live channel: an API key, a customer token or a session, and whether it still does."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from app.customer_tokens import SQL
from app.keys import digest_of, find_caller
from app.service import Caller, Service, Via


@dataclass(frozen=True)
class Credential:
    """Who came, and the digest by which it is asked later whether what he came with still opens anything."""

    caller: Caller
    digest: bytes


async def find_credential(service: Service, secret: str, address: str) -> Credential | None:
    """What a key's or a token's secret stands for; ``None`` when it opens nothing."""
    digest = digest_of(secret)
    caller = await find_caller(service, secret, address) or await _token_caller(service, digest, address)
    return None if caller is None else Credential(caller, digest)


async def _token_caller(service: Service, digest: bytes, address: str) -> Caller | None:
    row = await service.pool.fetchrow(SQL["find_token"], digest, service.clock())
    # As for keys: the database compares digests, and this once more in constant time.
    if row is None or not hmac.compare_digest(row["digest"], digest):
        return None
    return Caller(row["tenant_id"], row["key_id"], "read", address, row["customer_id"], Via.token)


async def living(service: Service, digests: Iterable[bytes]) -> set[bytes]:
    """Those of the digests whose credentials still open something. One statement, however many they are."""
    rows = await service.pool.fetch(SQL["living_credentials"], list(digests), service.clock())
    return {row["digest"] for row in rows}

"""Personal fields: sealed with a key per customer, gone with it."""

from __future__ import annotations

import base64
import secrets

import pytest

from app.sealing import key_for, keys_of, seal, unseal
from app.service import Caller, Service

KEY = secrets.token_bytes(32)


def test_what_was_sealed_opens_with_its_key() -> None:
    fields = {"email": "ada@example.com", "name": "Ada ☂", "phone_number": None}
    assert unseal(KEY, "ada", seal(KEY, "ada", fields)) == fields


def test_nothing_of_it_can_be_read_and_no_two_are_alike() -> None:
    first, second = (seal(KEY, "ada", {"email": "ada@example.com"}) for _ in range(2))
    assert first != second
    assert b"ada" not in base64.b64decode(first)


@pytest.mark.parametrize("position", [0, 1, 20, -1])
def test_a_changed_byte_is_noticed(position: int) -> None:
    raw = bytearray(base64.b64decode(seal(KEY, "ada", {"email": "ada@example.com"})))
    raw[position] ^= 1
    with pytest.raises(ValueError, match="'ada'"):
        unseal(KEY, "ada", base64.b64encode(raw).decode())


def test_the_fields_of_one_customer_cannot_be_given_to_another() -> None:
    with pytest.raises(ValueError, match="do not open"):
        unseal(KEY, "bob", seal(KEY, "ada", {"email": "ada@example.com"}))


def test_without_the_key_there_is_no_person() -> None:
    assert unseal(None, "ada", seal(KEY, "ada", {"email": "ada@example.com"})) == {}


async def test_a_customer_has_one_key_until_it_is_destroyed(service: Service, caller: Caller) -> None:
    async with service.pool.acquire() as connection:
        key = await key_for(connection, caller.tenant_id, "ada")
        assert await key_for(connection, caller.tenant_id, "ada") == key
        assert await keys_of(connection, caller.tenant_id, ["ada", "bob"]) == {"ada": key}
        await connection.execute(
            "update kept.customer_key set secret = null where tenant_id = $1 and customer_id = 'ada'",
            caller.tenant_id,
        )
        assert await keys_of(connection, caller.tenant_id, ["ada"]) == {}
        with pytest.raises(ValueError, match="was destroyed"):
            await key_for(connection, caller.tenant_id, "ada")

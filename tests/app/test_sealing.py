"""Personal fields: sealed with a key per customer, gone with it."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime

import pytest

from app.sealing import SealingKey, destroy_key, key_for, keys_of, seal, unseal
from app.service import Caller, Service
from tests.app.first_form import in_the_first_form

AT = datetime(2026, 3, 10, tzinfo=UTC)
KEY = SealingKey(secrets.token_bytes(32))
ADA = {"email": "ada@example.com"}


def test_what_was_sealed_opens_with_its_key() -> None:
    fields = {"email": "ada@example.com", "name": "Ada ☂", "phone_number": None}
    assert unseal(KEY, "ada", seal(KEY, "ada", fields)) == fields


def test_nothing_of_it_can_be_read_and_no_two_are_alike() -> None:
    first, second = (seal(KEY, "ada", ADA) for _ in range(2))
    assert first != second
    assert b"ada" not in base64.b64decode(first)


@pytest.mark.parametrize("position", [0, 9, 20, -1])
def test_a_changed_byte_is_noticed(position: int) -> None:
    raw = bytearray(base64.b64decode(seal(KEY, "ada", ADA)))
    raw[position] ^= 1
    with pytest.raises(ValueError, match="'ada'"):
        unseal(KEY, "ada", base64.b64encode(raw).decode())


def test_the_fields_of_one_customer_cannot_be_given_to_another() -> None:
    with pytest.raises(ValueError, match="do not open"):
        unseal(KEY, "bob", seal(KEY, "ada", ADA))


@pytest.mark.parametrize("key", [None, SealingKey(None, AT), SealingKey(secrets.token_bytes(32), AT)])
def test_without_the_key_that_sealed_it_there_is_no_person(key: SealingKey | None) -> None:
    assert unseal(key, "ada", seal(KEY, "ada", ADA)) == {}
    assert unseal(key, "ada", in_the_first_form(KEY)) == {}


def test_the_first_form_still_opens_and_does_not_pass_for_erased() -> None:
    assert unseal(KEY, "ada", in_the_first_form(KEY)) == ADA
    assert unseal(SealingKey(KEY.secret, AT), "ada", in_the_first_form(KEY)) == ADA
    with pytest.raises(ValueError, match="do not open"):
        unseal(SealingKey(secrets.token_bytes(32)), "ada", in_the_first_form(KEY))


async def test_a_customer_has_one_key_until_it_is_destroyed_and_then_another(service: Service, caller: Caller) -> None:
    tenant_id = caller.tenant_id
    async with service.pool.acquire() as connection:
        assert not await destroy_key(connection, tenant_id, "ada", AT)
        key = await key_for(connection, tenant_id, "ada")
        assert await key_for(connection, tenant_id, "ada") == key
        assert await keys_of(connection, tenant_id, ["ada", "bob"]) == {"ada": key}
        assert await destroy_key(connection, tenant_id, "ada", AT)
        assert await keys_of(connection, tenant_id, ["ada"]) == {"ada": SealingKey(None, AT)}
        assert not await destroy_key(connection, tenant_id, "ada", AT)
        other = await key_for(connection, tenant_id, "ada")
        assert other.secret not in (None, key.secret)
        assert other.erased_at == AT

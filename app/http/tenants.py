"""The tenant's own settings and API keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from app.http.auth import requires
from app.http.company import TaxLineSetting, read_company, read_taxes, tax_answer
from app.http.reading import PAGE_SIZE, Asked, PageNumber, PageSize, Serving, check_known, members, page, path_id
from app.keys import SQL, create_key, revoke_key
from app.limits import INVOICE_PREFIX_MAX_CHARS
from app.retired import check_window
from app.rules import rules_of, set_test_mode
from app.transaction import transaction
from domain import instant
from domain.errors import Invalid
from domain.tenant import Rules, Settings, Tenant, rules_in_force


class SettingsAnswer(msgspec.Struct):
    """The settings in force. Durations are written as ``5m``, ``1h``, ``35d`` or ``none``.

    ``now`` is where the clock of a tenant in test mode stands; others have no such field.
    """

    event_ahead_max: str
    event_age_max: str
    close_grace: str
    number_prefix: str
    company: dict[str, str]
    tax_lines: list[TaxLineSetting]
    test_mode: bool
    now: str | msgspec.UnsetType = msgspec.UNSET


class SettingsUpdate(msgspec.Struct):
    """Settings to change. Test mode begins before the first usage event and is never left."""

    event_ahead_max: Annotated[str, msgspec.Meta(examples=["5m"])] | msgspec.UnsetType = msgspec.UNSET
    event_age_max: Annotated[str, msgspec.Meta(examples=["35d"])] | msgspec.UnsetType = msgspec.UNSET
    close_grace: Annotated[str, msgspec.Meta(examples=["1h"])] | msgspec.UnsetType = msgspec.UNSET
    number_prefix: Annotated[str, msgspec.Meta(max_length=INVOICE_PREFIX_MAX_CHARS)] | msgspec.UnsetType = msgspec.UNSET
    company: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    tax_lines: list[TaxLineSetting] | msgspec.UnsetType = msgspec.UNSET
    test_mode: bool | msgspec.UnsetType = msgspec.UNSET


class KeyCreate(msgspec.Struct):
    """A key to make."""

    scope: Annotated[str, msgspec.Meta(examples=["ingest"])]
    name: str = ""


class KeyAnswer(msgspec.Struct, omit_defaults=True):
    """A key; its secret only in the answer that made it."""

    key_id: str
    scope: str
    name: str
    created_at: str | None = None
    revoked_at: str | None = None
    secret: str | None = None


class KeyList(msgspec.Struct):
    """A page of keys, newest first."""

    items: list[KeyAnswer]


def answer(rules: Rules) -> SettingsAnswer:
    """The settings on the wire."""
    return SettingsAnswer(
        event_ahead_max=instant.duration_text(rules.event_ahead_max),
        event_age_max=instant.duration_text(rules.event_age_max),
        close_grace=instant.duration_text(rules.close_grace),
        test_mode=rules.test_clock is not None,
        now=msgspec.UNSET if rules.test_clock is None else instant.text(rules.test_clock),
        number_prefix=rules.number_prefix,
        company=rules.company,
        tax_lines=[tax_answer(tax) for tax in rules.taxes],
    )


def _duration(field: str, text: str) -> timedelta | None:
    try:
        return instant.parse_duration(text)
    except instant.InvalidDuration as error:
        raise Invalid(field, str(error)) from None


def _micros(duration: timedelta | None) -> int | None:
    return None if duration is None else duration // timedelta(microseconds=1)


def changed(settings: Settings, data: SettingsUpdate, sent: Mapping[str, Any]) -> Settings:
    """The tenant's settings with what the request sets; ``sent`` are the body's members. Raises ``Invalid``."""
    new: dict[str, Any] = {}
    if data.event_ahead_max is not msgspec.UNSET:
        new["event_ahead_max"] = _micros(_duration("event_ahead_max", data.event_ahead_max))
    if data.event_age_max is not msgspec.UNSET:
        new["event_age_max"] = _micros(_duration("event_age_max", data.event_age_max))
    if data.close_grace is not msgspec.UNSET:
        grace = _duration("close_grace", data.close_grace)
        if grace is None:
            raise Invalid("close_grace", "must be a duration such as 1h or 0s")
        new["close_grace"] = _micros(grace)
    if data.number_prefix is not msgspec.UNSET:
        if not data.number_prefix.isprintable():
            raise Invalid("number_prefix", "must be printable")
        new["number_prefix"] = data.number_prefix
    if data.company is not msgspec.UNSET:
        new["company"] = read_company(data.company)
    if data.tax_lines is not msgspec.UNSET:
        new["tax_lines"] = read_taxes(data.tax_lines, sent["tax_lines"])
    return msgspec.structs.replace(settings, **new)


@get("/settings", guards=[requires("read")])
async def get_settings(request: Asked, service: Serving) -> SettingsAnswer:
    """The settings in force: the tenant's own, and the service's where it set none."""
    async with service.pool.acquire() as connection:
        return answer(await rules_of(connection, service, request.auth.tenant_id))


@patch("/settings", guards=[requires("write")])
async def update_settings(request: Asked, service: Serving, data: JSONBody[SettingsUpdate]) -> SettingsAnswer:
    """Change settings of this tenant."""
    check_known(members(request), SettingsUpdate.__struct_fields__)
    async with transaction(service, request.auth, "settings.change") as running:
        tenant = await running.get(Tenant, running.tenant_id)
        tenant.change_settings(changed(tenant.settings, data, members(request)), running.now)
        if data.test_mode is not msgspec.UNSET:
            await set_test_mode(running, data.test_mode)
        age_max = rules_in_force(tenant.settings, service.rules).event_age_max
        await check_window(running.database, running.tenant_id, age_max, running.now)
    async with service.pool.acquire() as connection:
        return answer(await rules_of(connection, service, request.auth.tenant_id))


@post("/api-keys", status_code=201, guards=[requires("write")])
async def create_api_key(request: Asked, service: Serving, data: JSONBody[KeyCreate]) -> KeyAnswer:
    """Make a key. Its secret is shown in this answer and nowhere else."""
    check_known(members(request), KeyCreate.__struct_fields__)
    key_id, secret = await create_key(service, request.auth, scope=data.scope, name=data.name)
    return KeyAnswer(key_id, data.scope, data.name, secret=secret)


@get("/api-keys", guards=[requires("write")])
async def list_api_keys(
    request: Asked, service: Serving, page_number: PageNumber = 0, page_size: PageSize = PAGE_SIZE
) -> KeyList:
    """The tenant's keys, without their secrets."""
    rows = page(page_number, page_size)
    found = await service.pool.fetch(SQL["list"], request.auth.tenant_id, rows.size, rows.offset)
    return KeyList(
        [
            KeyAnswer(
                row["key_id"],
                row["scope"],
                row["name"],
                instant.text(row["created_at"]),
                instant.text(row["revoked_at"]) if row["revoked_at"] else None,
            )
            for row in found
        ]
    )


@delete("/api-keys/{key_id:str}", guards=[requires("write")])
async def revoke_api_key(request: Asked, service: Serving, key_id: FromPath[str]) -> None:
    """Make a key open nothing from now on."""
    await revoke_key(service, request.auth, path_id(key_id, "api_key"))


ROUTER = Router(
    "/",
    route_handlers=[get_settings, update_settings, create_api_key, list_api_keys, revoke_api_key],
    tags=["Tenant"],
)

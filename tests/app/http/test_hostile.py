"""Hostile requests: whatever is sent, the answer is no 5xx, and an error is always ``{code, message}``."""

from __future__ import annotations

import copy
import gzip
import json
import zlib
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.http.examples import PRICE

METER = {
    "name": "Calls",
    "event_name": "api.call",
    "aggregation": {"type": "sum", "key": "n"},
    "measurement_unit": "call",
    "description": "text",
    "filter": {"conjunction": "and", "clauses": [{"key": "n", "operator": "equals", "value": 1}]},
}
PRODUCT = {
    "name": "API",
    "tax_category": "saas",
    "description": "text",
    "metadata": {"a": 1},
    "price": {
        **PRICE,
        "meters": [
            {"meter_id": "mtr_none", "price_per_unit": "0.1", "free_threshold": 5},
            {
                "meter_id": "mtr_tiers",
                "tier_mode": "graduated",
                "tiers": [{"up_to": 5, "price_per_unit": "2", "fixed_price": 1}, {"price_per_unit": "1"}],
                "credit_entitlement_id": "cde_none",
                "meter_units_per_credit": "10",
            },
            {"meter_id": "mtr_package", "tier_mode": "package", "package_size": 5, "price_per_unit": "2"},
        ],
        "tax_inclusive": True,
        "purchasing_power_parity": False,
        "discount": 0,
        "discount_bps": 0,
    },
    "credit_entitlements": [
        {
            "credit_entitlement_id": "cde_none",
            "credits_amount": "10",
            "overage_limit": "5",
            "price_per_unit": "1",
            "expires_after_days": 30,
            "rollover_timeframe_count": 1,
            "rollover_timeframe_interval": "Month",
        }
    ],
}
CUSTOMER = {
    "customer_id": None,
    "email": "a@example.com",
    "name": "Ada",
    "phone_number": "1",
    "time_zone": "UTC",
    "preferred_locale": "en",
    "metadata": {"a": True},
}
SUBSCRIPTION = {
    "customer": {"customer_id": "ada", "email": "a@example.com", "name": "Ada"},
    "billing": {"country": "US", "city": "X"},
    "product_id": "pdt_none",
    "quantity": 1,
    "products": [{"product_id": "pdt_none", "quantity": 1}],
    "anchor_date": "2026-01-31",
    "metadata": {"a": "b"},
    "billing_currency": "USD",
    "trial_period_days": 0,
}
SETTINGS = {
    "event_ahead_max": "5m",
    "event_age_max": "35d",
    "close_grace": "1h",
    "number_prefix": "INV-",
    "company": {"name": "Example"},
}
EVENTS = {
    "events": [
        {
            "event_id": "e",
            "customer_id": "ada",
            "event_name": "api.call",
            "timestamp": "2026-03-10T12:00:00Z",
            "metadata": {"n": 1},
        }
    ]
}
ALERT = {
    "customer_id": "ada",
    "subscription_id": "sub_none",
    "kind": "quantity",
    "threshold": "5",
    "meter_id": "mtr_none",
    "credit_entitlement_id": "cde_none",
}
BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/meters", METER),
    ("POST", "/products", PRODUCT),
    ("POST", "/customers", CUSTOMER),
    ("POST", "/subscriptions", SUBSCRIPTION),
    ("POST", "/events/ingest", EVENTS),
    ("POST", "/events/void", {"event_ids": ["e", "f"], "reason": "x"}),
    ("POST", "/api-keys", {"scope": "read", "name": "x"}),
    ("PATCH", "/settings", SETTINGS),
    ("POST", "/alerts", ALERT),
]

TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(min_size=300, max_size=300, alphabet="aé\U0001f600"),
    st.sampled_from(["", " ", "\0", "\ud800", "\udfff x", "NaN", "1e400", "-0", "../..", "2026-02-30", "9" * 100]),
)
NUMBERS = st.one_of(
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**12, 10**60]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)


def paths_in(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a body."""
    found = [at] if at else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths_in(item, (*at, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += paths_in(item, (*at, index))
    return found


FIELDS = [(method, path, body, way) for method, path, body in BODIES for way in paths_in(body)]


def replaced(body: dict[str, Any], way: tuple[Any, ...], value: Any) -> dict[str, Any]:
    new = copy.deepcopy(body)
    inner: Any = new
    for step in way[:-1]:
        inner = inner[step]
    inner[way[-1]] = value
    return new


def check(answered: httpx.Response) -> None:
    """Not our failure; and when it is refused, in the shape of every refusal."""
    assert answered.status_code < 500, answered.text
    if answered.status_code >= 400:
        body = answered.json()
        assert set(body) >= {"code", "message"}, body
        assert set(body) <= {"code", "message", "errors"}, body
        assert body["code"]
        assert body["code"].upper() == body["code"]
        assert isinstance(body["message"], str)
        assert body["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "way"),
    FIELDS,
    ids=[f"{path} {'.'.join(map(str, way))}" for _, path, _, way in FIELDS],
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
async def test_anything_in_place_of_a_field(
    api: Any, method: str, path: str, body: dict[str, Any], way: tuple[Any, ...], value: object
) -> None:
    sent = json.dumps(replaced(body, way, value)).encode()
    check(await api.request(method, path, content=sent, headers={"Content-Type": "application/json"}))


RAW = {
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "deep and closed": b'{"name":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "invalid UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"name": "x"}',
    "NUL byte": b'{"name": "a\0b"}',
    "NUL escape": b'{"name": "a\\u0000b"}',
    "NUL in a list": b'{"events": [{"event_id": "a\\u0000"}], "name": ["\\u0000"], "metadata": {"a": ["\\u0000"]}}',
    "lone surrogate": b'{"name": "\\ud800", "email": "\\udc00x"}',
    "lone surrogate as key": b'{"\\ud800": 1}',
    "duplicate key": b'{"name": "a", "name": "b"}',
    "duplicate key inside": b'{"metadata": {"a": 1, "a": 2}}',
    "1e400": b'{"name": 1e400, "metadata": {"a": 1e400}}',
    "huge exponent": b'{"metadata": {"a": 1e999999999999}}',
    "exponent beyond any decimal": b'{"x": 1e99999999999999999999}',
    "negative exponent beyond any decimal": b'{"x": -1E-99999999999999999999}',
    "long number": b'{"metadata": {"a": ' + b"9" * 100_000 + b"}}",
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"metadata": {"a": -Infinity}}',
    "cut": b'{"name": "x',
    "trailing": b'{"name": "x"} {}',
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "text": b'"x"',
    "empty": b"",
    "blank": b"  \n",
    "no JSON": b"name=x&email=y",
}


@pytest.mark.parametrize("name", RAW)
async def test_a_body_that_is_no_object(api: Any, name: str) -> None:
    for method, path, _ in BODIES:
        for media_type in ("application/json", "application/x-ndjson", "text/plain", ""):
            answered = await api.request(method, path, content=RAW[name], headers={"Content-Type": media_type})
            check(answered)
            # Nothing to change is no error for the settings.
            assert answered.status_code >= 400 or path == "/settings", f"{path}: {answered.text}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (RAW["duplicate key"], "DUPLICATE_KEY"),
        (RAW["NaN"], "MALFORMED_JSON"),
        (RAW["invalid UTF-8"], "INVALID_TEXT"),
        (RAW["NUL escape"], "INVALID_TEXT"),
        (RAW["lone surrogate"], "INVALID_TEXT"),
        (RAW["deep"], "TOO_DEEP"),
        (RAW["long number"], "INVALID_NUMBER"),
        (RAW["exponent beyond any decimal"], "INVALID_NUMBER"),
        (RAW["negative exponent beyond any decimal"], "INVALID_NUMBER"),
        (RAW["list"], "INVALID_TYPE"),
    ],
)
async def test_what_is_wrong_with_an_object_is_named(api: Any, body: bytes, code: str) -> None:
    answered = await api.post("/customers", content=body, headers={"Content-Type": "application/json"})
    assert (answered.status_code, answered.json()["code"]) == (422, code)


@pytest.mark.parametrize("path", ["/events/ingest", "/customers"])
@pytest.mark.parametrize(
    ("encoding", "body", "status", "code"),
    [
        ("gzip", gzip.compress(b"{}" * 100)[:-9], 400, "INVALID_ENCODING"),
        ("gzip", b"no gzip at all", 400, "INVALID_ENCODING"),
        ("gzip", zlib.compress(b"{}"), 400, "INVALID_ENCODING"),
        ("zstd", b"\x28\xb5\x2f\xfd\x00", 400, "INVALID_ENCODING"),
        ("br", b"{}", 415, "UNSUPPORTED_ENCODING"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), 415, "UNSUPPORTED_ENCODING"),
        ("gzip", gzip.compress(b" " * (33 * 1024 * 1024)), 413, "BODY_TOO_LARGE"),
        ("identity", b" " * (17 * 1024 * 1024), 413, "BODY_TOO_LARGE"),
    ],
    ids=["cut", "no gzip", "zlib", "cut zstd", "brotli", "twice", "bomb", "oversized"],
)
async def test_bodies_as_they_are_packed(
    api: Any, path: str, encoding: str, body: bytes, status: int, code: str
) -> None:
    answered = await api.post(
        path, content=body, headers={"Content-Encoding": encoding, "Content-Type": "application/json"}
    )
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    check(answered)


async def test_an_object_over_a_megabyte_is_too_large(api: Any) -> None:
    answered = await api.post("/customers", content=b" " * (1024 * 1024 + 1))
    assert (answered.status_code, answered.json()["code"]) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("object_id", ["%00", "%ff", "%ED%A0%80", "..%2f..", "a%20b", "%25", "x" * 5_000, "é", "'--"])
async def test_ids_in_paths(api: Any, object_id: str) -> None:
    for path in ("events", "meters", "products", "customers", "subscriptions", "invoices"):
        answered = await api.get(f"/{path}/{object_id}")
        check(answered)
        assert answered.status_code == 404
    for path in ("meters", "products", "api-keys"):
        assert (await api.delete(f"/{path}/{object_id}")).status_code == 404
    for path in ("meters", "products", "customers", "subscriptions"):
        assert (await api.patch(f"/{path}/{object_id}", json={})).status_code == 404


@pytest.mark.parametrize(
    "start",
    [1, True, None, [], {}, "x", "", "\0", "2026-03-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"],
)
async def test_cycle_starts(api: Any, make: Any, start: object) -> None:
    ids = await make.everything()
    check(await api.post(f"/subscriptions/{ids['subscription_id']}/close-cycle", json={"cycle_start": start}))


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "Basic YWRhOng=", "bearer\t", "Bearer " + "x" * 100_000, "Bearer \xff", "Bearer a b c"],
)
async def test_authorizations(api: Any, value: str) -> None:
    answered = await api.get("/meters", headers={"Authorization": value.encode("latin-1")})
    assert answered.status_code == 401
    assert answered.headers["www-authenticate"] == "Bearer"
    check(answered)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("PUT", "/meters", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/events/x", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/events", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_routes_that_do_not_exist(api: Any, method: str, path: str, status: int, code: str) -> None:
    answered = await api.request(method, path)
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    check(answered)

"""Requests are counted by the template of their route, with few and known labels."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

from app.http.request_measures import OTHER_METHOD, UNROUTED
from tests.conftest import Api


def counted(method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("taximeter_http_requests_total", labels) or 0.0


def timed(method: str, route: str) -> float:
    labels = {"method": method, "route": route}
    return REGISTRY.get_sample_value("taximeter_http_request_duration_seconds_count", labels) or 0.0


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/meters", "/meters", 200),
        ("GET", "/customers/nobody", "/customers/{customer_id}", 404),
        ("GET", "/customers/no%2Fbody", "/customers/{customer_id}", 404),
        ("GET", "/invoices/inv_1.pdf", "/invoices/{invoice_id}/pdf", 404),
        ("POST", "/meters", "/meters", 422),
        ("GET", "/no/such/path", UNROUTED, 404),
        ("DELETE", "/meters", UNROUTED, 405),
    ],
)
async def test_a_request_is_counted_and_timed_once(api: Api, method: str, path: str, route: str, status: int) -> None:
    before = counted(method, route, status), timed(method, route)
    assert (await api.request(method, path)).status_code == status
    assert (counted(method, route, status), timed(method, route)) == (before[0] + 1, before[1] + 1)


async def test_a_body_that_the_gate_refuses_is_counted(api: Api) -> None:
    before = counted("POST", UNROUTED, 422)
    assert (await api.post("/meters", content=b"{")).status_code == 422
    assert counted("POST", UNROUTED, 422) == before + 1


async def test_words_that_a_client_makes_up_are_no_labels(api: Api) -> None:
    before = counted(OTHER_METHOD, UNROUTED, 405)
    for method in ("BREW", "WHEN", "X" * 100):
        answered: Any = await api.request(method, "/meters")
        assert answered.status_code == 405
    assert counted(OTHER_METHOD, UNROUTED, 405) == before + 3
    assert counted("BREW", UNROUTED, 405) == 0


async def test_who_has_no_key_is_counted_at_the_route(api: Api) -> None:
    before = counted("GET", "/meters", 401)
    await api.get("/meters", headers={"Authorization": ""})
    assert counted("GET", "/meters", 401) == before + 1

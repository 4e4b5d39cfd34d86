"""Who asks which methods a path has, or uses one that it has not, is told all that there are."""

from __future__ import annotations

from typing import Any

import pytest

METHODS = [
    ("/alerts", {"GET", "POST", "OPTIONS"}),
    ("/alerts/alt_1", {"GET", "DELETE", "OPTIONS"}),
    ("/meters/a%2Fb", {"GET", "PATCH", "DELETE", "OPTIONS"}),
    ("/invoices/inv_1.pdf", {"GET", "OPTIONS"}),
    ("/health/live", {"GET", "OPTIONS"}),
]


def allowed(answered: Any) -> set[str]:
    return {name.strip() for name in answered.headers["allow"].split(",")}


@pytest.mark.parametrize(("path", "methods"), METHODS)
async def test_options_names_every_method(api: Any, path: str, methods: set[str]) -> None:
    answered = await api.options(path)
    assert answered.status_code == 204
    assert allowed(answered) == methods


@pytest.mark.parametrize(("path", "methods"), METHODS)
@pytest.mark.parametrize("method", ["PUT", "TRACE"])
async def test_a_method_that_is_not_there_is_answered_with_those_that_are(
    api: Any, path: str, methods: set[str], method: str
) -> None:
    answered = await api.request(method, path)
    assert (answered.status_code, answered.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert allowed(answered) == methods


async def test_a_path_that_is_not_there_has_no_methods(api: Any) -> None:
    answered = await api.options("/nowhere")
    assert answered.status_code == 404
    assert "allow" not in answered.headers

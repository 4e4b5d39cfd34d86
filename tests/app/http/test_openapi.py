"""The description of the API: valid, complete, with examples that work and a page that needs no internet."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from app.http.examples import BODIES

CREATED = {"/meters": "meter_id", "/credit-entitlements": "credit_entitlement_id", "/products": "product_id"}
"""What a created object's id is called where other examples refer to it."""

QUERIES = {"/live/snapshot": {"customer_id": "ada"}}
"""What a path cannot be asked without."""


@pytest.fixture
async def description(api: Any) -> dict[str, Any]:
    answered = await api.get("/schema/openapi.json", headers={"Authorization": ""})
    assert answered.status_code == 200, answered.text
    return json.loads(answered.content)


def operations(description: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, found) for path, item in description["paths"].items() for method, found in item.items()]


async def test_it_is_valid_openapi(description: dict[str, Any]) -> None:
    validate(description)
    assert description["openapi"].startswith("3.1")


async def test_every_route_is_described(description: dict[str, Any]) -> None:
    found = operations(description)
    assert len(found) > 30
    for method, path, operation in found:
        assert len(operation["summary"]) > 5, f"{method} {path}"
        assert "`" not in operation["summary"]
        assert operation["description"].startswith(operation["summary"][:5]), f"{method} {path}"


async def test_every_route_but_health_needs_a_key_and_describes_its_errors(description: dict[str, Any]) -> None:
    assert description["security"] == [{"key": []}]
    for method, path, operation in operations(description):
        if path.startswith("/health/"):
            assert operation["security"] == []
            continue
        assert "security" not in operation, f"{method} {path}"
        schema = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}
        assert "400" not in operation["responses"]


async def test_the_examples_that_are_meant_to_be_shown_are_shown(description: dict[str, Any]) -> None:
    for (method, path), contents in BODIES.items():
        content = description["paths"][path][method]["requestBody"]["content"]
        for media_type, examples in contents.items():
            shown = {name: (one["summary"], one["value"]) for name, one in content[media_type]["examples"].items()}
            assert shown == examples


def with_ids(value: Any, ids: dict[str, str]) -> Any:
    """The example, the ids of objects made before it in place of the ids it shows."""
    if isinstance(value, dict):
        return {key: ids[key] if key in ids else with_ids(item, ids) for key, item in value.items()}
    return [with_ids(item, ids) for item in value] if isinstance(value, list) else value


async def test_every_example_works(api: Any, description: dict[str, Any]) -> None:
    ids = {"customer_id": "cus_ada"}
    sent = 0
    for path in (
        "/meters",
        "/credit-entitlements",
        "/products",
        "/customers",
        "/customers/{customer_id}/wallets/ledger-entries",
        "/credit-entitlements/{credit_entitlement_id}/balances/{customer_id}/ledger-entries",
        "/subscriptions",
        "/alerts",
        "/events/ingest",
        "/events/void",
        "/api-keys",
        "/customer-tokens",
        "/simulations",
    ):
        operation = description["paths"][path]["post"]
        for media_type, content in operation["requestBody"]["content"].items():
            assert content["examples"], f"{path} {media_type} shows no example"
            for name, example in content["examples"].items():
                value = with_ids(example["value"], ids)
                body = value if isinstance(value, str) else json.dumps(value)
                answered = await api.post(path.format(**ids), content=body, headers={"Content-Type": media_type})
                assert str(answered.status_code) in operation["responses"], f"{path} {name}: {answered.text}"
                sent += 1
                if path in CREATED:
                    ids.setdefault(CREATED[path], answered.json().get("product_id") or answered.json()["id"])
    assert sent >= 16


async def test_every_answer_has_the_fields_that_are_described(api: Any, make: Any, description: dict[str, Any]) -> None:
    ids = await make.everything()
    await api.ingest(make.event(1))
    await api.project()
    ids["event_id"] = "call-1"
    checked = 0
    for method, path, operation in operations(description):
        names = re.findall(r"{(\w+)}", path)
        if method != "get" or not set(names) <= set(ids):
            continue
        answered = await api.get(path.format(**ids), params=QUERIES.get(path))
        assert answered.status_code == 200, f"{path}: {answered.text}"
        content = operation["responses"]["200"]["content"]
        if "application/json" not in content:
            assert answered.headers["content-type"].partition(";")[0] in content, path
            continue
        schema = content["application/json"]["schema"]
        if "$ref" in schema:
            declared = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert set(answered.json()) == set(declared["properties"]) or set(declared["required"]) <= set(
                answered.json()
            ), path
            checked += 1
    assert checked > 15


async def test_the_page_refers_to_nothing_outside(api: Any) -> None:
    page = await api.get("/schema", headers={"Authorization": ""})
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r"""(?:href|src)=["']([^"']+)["']""", page.text)
    assert len(links) == 4
    for link in links:
        assert link.startswith("/schema/assets/")
        asset = await api.get(link, headers={"Authorization": ""})
        assert asset.status_code == 200, link
        assert len(asset.content) > 500
        assert asset.headers["cache-control"] == "max-age=3600"
    script = await api.get("/schema/assets/swagger-ui-bundle.js")
    assert "javascript" in script.headers["content-type"]
    assert b"SwaggerUIBundle" in script.content


@pytest.mark.parametrize("path", ["/schema/assets/none.js", "/schema/assets/..%2F__init__.py"])
async def test_nothing_else_is_served_as_an_asset(api: Any, path: str) -> None:
    answered = await api.get(path)
    assert (answered.status_code, answered.json()["code"]) == (404, "NOT_FOUND")


async def test_instants_and_choices_are_described_as_such(description: dict[str, Any]) -> None:
    parameters = {one["name"]: one["schema"] for one in description["paths"]["/events"]["get"]["parameters"]}
    assert {"type": "string", "format": "date-time"} in parameters["start"]["oneOf"]
    assert {"type": "string"} in parameters["customer_id"]["oneOf"]
    (on_invalid,) = description["paths"]["/events/ingest"]["post"]["parameters"]
    assert on_invalid["schema"]["enum"] == ["refuse", "skip"]


async def test_not_being_ready_is_described(description: dict[str, Any]) -> None:
    assert set(description["paths"]["/health/ready"]["get"]["responses"]) == {"200", "503"}
    assert set(description["paths"]["/health/live"]["get"]["responses"]) == {"200"}


async def test_null_where_nothing_is_meant_is_described(description: dict[str, Any]) -> None:
    event = description["components"]["schemas"]["UsageEvent"]["properties"]
    assert event["timestamp"]["type"] == ["string", "null"]
    assert event["metadata"]["type"] == ["object", "null"]

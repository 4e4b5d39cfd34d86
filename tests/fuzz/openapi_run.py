"""One run of schemathesis against a running service: objects that its requests may name, then the run itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from app.http.examples import PRICE

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests" / "fuzz" / "schemathesis.toml"
ANSWER_SECONDS = 30
ALL_PHASES = "examples,coverage,fuzzing,stateful"
SLICE_PHASES = "examples,coverage"
"""What schemathesis does: the described examples, each constraint of the description once, requests made at random, and
chains of requests."""
CYCLE_START = "2026-01-01"
"""A month that has ended, so that there is a cycle to close."""


def make_objects(client: httpx.Client) -> dict[str, str]:
    """One object of each kind, and an invoice; the ids by the name of their field."""

    def post(path: str, body: Any = None) -> Any:
        answered = client.post(path, json=body)
        assert answered.is_success, f"{path}: {answered.text}"
        return answered.json()

    entitlement = post("/credit-entitlements", {"name": "Credits", "unit": "credit", "precision": 2,
                                                "overage_enabled": False, "rollover_enabled": False})  # fmt: skip
    meter = post("/meters", {"name": "Calls", "event_name": "api.call", "aggregation": {"type": "sum", "key": "n"},
                             "measurement_unit": "call"})  # fmt: skip
    price = {**PRICE, "meters": [{"meter_id": meter["id"], "price_per_unit": "0.5", "free_threshold": 2}]}
    product = post("/products", {"name": "API", "tax_category": "saas", "price": price})
    customer = post("/customers", {"email": "ada@example.com", "name": "Ada"})
    event = {"event_id": "fuzz/1", "customer_id": customer["customer_id"], "event_name": "api.call"}
    post("/events/ingest", {"events": [{**event, "metadata": {"n": 5}}]})
    subscription = post("/subscriptions", {
        "customer": {"customer_id": customer["customer_id"]}, "billing": {"country": "US"},
        "product_id": product["product_id"], "quantity": 1, "anchor_date": CYCLE_START,
    })  # fmt: skip
    invoice = post(f"/subscriptions/{subscription['subscription_id']}/close-cycle")
    alert = post("/alerts", {"customer_id": customer["customer_id"], "kind": "quantity",
                             "meter_id": meter["id"], "threshold": "5"})  # fmt: skip
    token = post("/customer-tokens", {"customer_id": customer["customer_id"]})
    key = post("/api-keys", {"scope": "read", "name": "to be revoked"})
    return {
        "credit_entitlement_id": entitlement["id"],
        "meter_id": meter["id"],
        "product_id": product["product_id"],
        "customer_id": customer["customer_id"],
        "subscription_id": subscription["subscription_id"],
        "invoice_id": invoice["invoice_id"],
        "payment_id": subscription["payment_id"],
        "alert_id": alert["alert_id"],
        "token_id": token["token_id"],
        "key_id": key["key_id"],
        "event_id": event["event_id"],
    }


def own_key_id(client: httpx.Client) -> str:
    """The id of the key that is asked with, the service's first one."""
    return client.get("/api-keys", params={"page_size": 100}).json()["items"][-1]["key_id"]


def command(url: str, seed: int, examples: int, seconds: int, phases: str) -> list[str]:
    """How schemathesis is called: the same seed asks the same questions."""
    return [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "--no-color", "run"),
        *(f"{url}/schema/openapi.json", "--seed", str(seed), "--max-examples", str(examples), "--phases", phases),
        *(["--max-time", str(seconds)] if seconds else []),
    ]


def run(
    url: str, api_key: str, seed: int, examples: int, seconds: int = 0, phases: str = ALL_PHASES
) -> subprocess.CompletedProcess[str]:
    """Ask the whole API. What went wrong stands in the output, with the request that shows it.

    With ``seconds`` it goes on asking until they are over.
    """
    headers = {"Authorization": f"Bearer {api_key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=ANSWER_SECONDS, trust_env=False) as client:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "*",
            "TAXIMETER_FUZZ_KEY": api_key,
            "TAXIMETER_FUZZ_KEY_ID": own_key_id(client),
            "TAXIMETER_FUZZ_IDS": json.dumps(make_objects(client)),
        }
        ran = subprocess.run(
            command(url, seed, examples, seconds, phases),
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        # Who lost his key is refused everything, which would be a pass.
        assert client.get("/settings").status_code == httpx.codes.OK
    return ran

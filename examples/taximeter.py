"""What the examples share: calls of a running service, with nothing but Python's standard library."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from uuid import uuid4

URL = os.environ.get("TAXIMETER_URL", "http://127.0.0.1:8080")
BATCH_MAX = 1_000
"""Usage events of one request."""

TIMEOUT_SECONDS = 60

LINE_FIELDS = ("kind", "description", "consumed_units", "free_units", "credit_units", "paid_units", "amount")
AMOUNTS = ("subtotal_amount", "wallet_amount", "tax_amount", "total_amount")


def call(method: str, path: str, body: Any = None) -> Any:
    """One call of the API: the decoded answer, or the end of the program with the service's own words."""
    key = os.environ.get("TAXIMETER_API_KEY") or sys.exit("set TAXIMETER_API_KEY to a key with the scope 'write'")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(URL + path, data, headers, method=method), timeout=TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read() or "null")
    except HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")
    except URLError as error:
        sys.exit(f"no service answers at {URL} ({error.reason}); start one with `make run`")


def january_customer(name: str) -> str:
    """A new customer, whose usage of January 2026 may still be sent."""
    # By default events may be 35 days old.
    call("PATCH", "/settings", {"event_age_max": "none"})
    customer_id = f"{name}-{uuid4().hex[:8]}"
    call("POST", "/customers", {"customer_id": customer_id, "email": "ada@example.com", "name": "Ada"})
    return customer_id


def meter(name: str, event_name: str, aggregation: Any, unit: str, condition: Any = None) -> str:
    """A new meter's id."""
    body = {"name": name, "event_name": event_name, "aggregation": aggregation, "measurement_unit": unit}
    return call("POST", "/meters", body if condition is None else {**body, "filter": condition})["id"]


def monthly_product(name: str, meters: list[Any], **more: Any) -> str:
    """The id of a new product in dollars without a fixed price, billed each month until it is cancelled."""
    price = {
        "type": "usage_based_price",
        "currency": "USD",
        "fixed_price": 0,
        "payment_frequency_count": 1,
        "payment_frequency_interval": "Month",
        "subscription_period_count": 20,
        "subscription_period_interval": "Year",
        "meters": meters,
    }
    return call("POST", "/products", {"name": name, "tax_category": "saas", "price": price, **more})["product_id"]


def subscribe(customer_id: str, product_id: str) -> str:
    """The id of a new subscription, whose first cycle is January 2026."""
    body = {
        "customer": {"customer_id": customer_id},
        "billing": {"country": "US"},
        "product_id": product_id,
        "quantity": 1,
        "anchor_date": "2026-01-01",
    }
    return call("POST", "/subscriptions", body)["subscription_id"]


def send(customer_id: str, event_name: str, uses: Iterable[dict[str, Any]]) -> None:
    """Send one usage event of 15 January for each of the metadata."""
    events = [
        {
            # The id makes an event count once, however often it is sent.
            "event_id": f"{customer_id}-{number}",
            "customer_id": customer_id,
            "event_name": event_name,
            "timestamp": "2026-01-15T09:30:00Z",
            "metadata": metadata,
        }
        for number, metadata in enumerate(uses)
    ]
    for first in range(0, len(events), BATCH_MAX):
        call("POST", "/events/ingest", {"events": events[first : first + BATCH_MAX]})


def bill(subscription_id: str, expected: Path) -> None:
    """Close January, print its invoice, and compare it with the expected one; ids and numbers are your own."""
    invoice = call("POST", f"/subscriptions/{subscription_id}/close-cycle")
    shown = {
        "currency": invoice["currency"],
        "cycle_start": invoice["cycle_start"],
        "cycle_end": invoice["cycle_end"],
        "lines": [{field: line[field] for field in LINE_FIELDS} for line in invoice["lines"]],
        **{field: invoice[field] for field in AMOUNTS},
    }
    print(f"Invoice {invoice['number']}, {invoice['cycle_start'][:10]} to {invoice['cycle_end'][:10]}")
    for line in shown["lines"]:
        units = ", ".join(f"{line[f'{part}_units']} {part}" for part in ("consumed", "free", "credit", "paid"))
        print(f"  {line['description']}: {units}: ${line['amount'] / 100:.2f}")
    print(f"  Total ${shown['total_amount'] / 100:.2f}")
    if shown != json.loads(expected.read_text(encoding="utf-8")):
        sys.exit(f"this is not the invoice of {expected}")
    print(f"As expected in {expected.name}.")

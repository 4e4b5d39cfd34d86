"""The request bodies that the API's description shows. The tests send every one of them."""

from __future__ import annotations

import json
from typing import Any

EVENTS: list[dict[str, Any]] = [
    {
        "event_id": "req_8f3a",
        "customer_id": "cus_ada",
        "event_name": "llm.completion",
        "metadata": {"tokens": 1280, "model": "large"},
    },
    {
        "event_id": "req_8f3b",
        "customer_id": "cus_ada",
        "event_name": "llm.completion",
        "metadata": {"tokens": 64.5, "model": "small", "cached": True},
    },
]

METER_ID = "mtr_01kq8z0c6tq6m7d1r3w9x5y2ab"
"""Stands for the id that creating the meter answered."""

PRODUCT_ID = "pdt_01kq8z1n4hv8e2j6s0g5k7f3cd"
"""Stands for the id that creating the product answered."""

PRICE: dict[str, Any] = {
    "type": "usage_based_price",
    "currency": "USD",
    "fixed_price": 500,
    "payment_frequency_count": 1,
    "payment_frequency_interval": "Month",
    "subscription_period_count": 20,
    "subscription_period_interval": "Year",
}

JSON = "application/json"
NDJSON = "application/x-ndjson"

BODIES: dict[tuple[str, str], dict[str, dict[str, tuple[str, Any]]]] = {
    ("post", "/events/ingest"): {
        JSON: {
            "two": ("Two events; without a timestamp they happened now", {"events": EVENTS}),
            "timestamp": (
                "An event with its own time",
                {"events": [{**EVENTS[0], "event_id": "req_8f3c", "timestamp": "2026-03-10T12:00:00.250Z"}]},
            ),
        },
        NDJSON: {"two": ("One event per line", "".join(json.dumps(event) + "\n" for event in EVENTS))},
    },
    ("post", "/meters"): {
        JSON: {
            "sum": (
                "The sum of a metadata value",
                {
                    "name": "Tokens",
                    "event_name": "llm.completion",
                    "aggregation": {"type": "sum", "key": "tokens"},
                    "measurement_unit": "token",
                },
            ),
            "filter": (
                "Only events that pass a filter",
                {
                    "name": "Calls of the large model",
                    "event_name": "llm.completion",
                    "aggregation": {"type": "count"},
                    "measurement_unit": "call",
                    "filter": {
                        "conjunction": "and",
                        "clauses": [{"key": "model", "operator": "equals", "value": "large"}],
                    },
                },
            ),
        }
    },
    ("post", "/products"): {
        JSON: {
            "usage": (
                "A monthly fee, and 0.1 cents per token beyond 10,000",
                {
                    "name": "API",
                    "tax_category": "saas",
                    "price": {
                        **PRICE,
                        "meters": [{"meter_id": METER_ID, "price_per_unit": "0.1", "free_threshold": 10000}],
                    },
                },
            ),
            "fee": ("A monthly fee only", {"name": "Support", "tax_category": "saas", "price": PRICE}),
        }
    },
    ("post", "/customers"): {
        JSON: {
            "own id": (
                "With the caller's own id: usage recorded under it counts",
                {"customer_id": "cus_ada", "email": "billing@example.com", "name": "Example Ltd"},
            ),
            "new id": ("With an id of ours", {"email": "accounts@example.com", "name": "Example & Sons"}),
        }
    },
    ("post", "/subscriptions"): {
        JSON: {
            "one": (
                "One product, billed from the first of the month",
                {
                    "customer": {"customer_id": "cus_ada"},
                    "billing": {"country": "US"},
                    "product_id": PRODUCT_ID,
                    "quantity": 1,
                    "anchor_date": "2026-03-01",
                },
            ),
            "new customer": (
                "A customer made with the subscription, and several products",
                {
                    "customer": {"email": "buyer@example.com", "name": "Example Inc"},
                    "billing": {"country": "DE"},
                    "products": [{"product_id": PRODUCT_ID, "quantity": 2}],
                },
            ),
        }
    },
    ("post", "/api-keys"): {JSON: {"ingest": ("A key that can only send events", {"scope": "ingest", "name": "web"})}},
    ("post", "/subscriptions/{subscription_id}/close-cycle"): {
        JSON: {"start": ("The cycle that began then", {"cycle_start": "2026-03-01T00:00:00Z"})}
    },
}
"""Method and path, media type, and by name: what the example shows, and the body."""

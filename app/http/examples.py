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
    ("post", "/events/void"): {
        JSON: {
            "two": (
                "Two events that were sent by mistake",
                {"event_ids": ["req_8f3a", "req_8f3b"], "reason": "sent by a test run"},
            )
        }
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
    ("post", "/credit-entitlements"): {
        JSON: {
            "included": (
                "Text messages, counted in whole credits; what is left at a cycle's end lapses",
                {
                    "name": "SMS credits",
                    "unit": "credit",
                    "precision": 0,
                    "overage_enabled": False,
                    "rollover_enabled": False,
                },
            ),
            "overage": (
                "Half of the rest lives on, and what no credits cover is invoiced at 2 cents a credit",
                {
                    "name": "AI credits",
                    "unit": "credit",
                    "precision": 2,
                    "overage_enabled": True,
                    "overage_behavior": "invoice_at_billing",
                    "currency": "USD",
                    "price_per_unit": "2",
                    "rollover_enabled": True,
                    "rollover_percentage": 50,
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
            "tiers": (
                "The first 1,000 tokens at 0.1 cents each, all further ones at half of that",
                {
                    "name": "API by tiers",
                    "tax_category": "saas",
                    "price": {
                        **PRICE,
                        "meters": [
                            {
                                "meter_id": METER_ID,
                                "tier_mode": "graduated",
                                "tiers": [{"up_to": 1000, "price_per_unit": "0.1"}, {"price_per_unit": "0.05"}],
                            }
                        ],
                    },
                },
            ),
            "packages": (
                "5 cents for each started package of 1,000 tokens",
                {
                    "name": "API by package",
                    "tax_category": "saas",
                    "price": {
                        **PRICE,
                        "meters": [
                            {
                                "meter_id": METER_ID,
                                "tier_mode": "package",
                                "package_size": 1000,
                                "price_per_unit": "5",
                            }
                        ],
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
            "trial": (
                "Two weeks of trial before the first regular cycle",
                {
                    "customer": {"customer_id": "cus_ada"},
                    "billing": {"country": "US"},
                    "product_id": PRODUCT_ID,
                    "quantity": 1,
                    "trial_period_days": 14,
                },
            ),
        }
    },
    ("post", "/subscriptions/{subscription_id}/change-plan"): {
        JSON: {
            "quantity": (
                "Three times the product from now on, billed by time",
                {"product_id": PRODUCT_ID, "quantity": 3, "proration_billing_mode": "prorated_immediately"},
            ),
            "later": (
                "Another quantity from the next billing date on",
                {
                    "products": [{"product_id": PRODUCT_ID, "quantity": 5}],
                    "proration_billing_mode": "do_not_bill",
                    "effective_at": "next_billing_date",
                },
            ),
        }
    },
    ("post", "/subscriptions/{subscription_id}/change-plan/preview"): {
        JSON: {
            "quantity": (
                "What three times the product would cost",
                {"product_id": PRODUCT_ID, "quantity": 3, "proration_billing_mode": "prorated_immediately"},
            ),
        }
    },
    ("post", "/credit-entitlements/{credit_entitlement_id}/balances/{customer_id}/ledger-entries"): {
        JSON: {
            "credit": (
                "A hundred credits more, until a day",
                {
                    "amount": "100",
                    "entry_type": "credit",
                    "expires_at": "2036-09-30T00:00:00Z",
                    "reason": "goodwill",
                    "idempotency_key": "goodwill-2026-03",
                },
            ),
            "debit": ("Two credits less", {"amount": "2", "entry_type": "debit"}),
        }
    },
    ("post", "/customers/{customer_id}/wallets/ledger-entries"): {
        JSON: {
            "credit": (
                "Five dollars into the customer's wallet",
                {
                    "amount": 500,
                    "currency": "USD",
                    "entry_type": "credit",
                    "reason": "goodwill",
                    "idempotency_key": "goodwill-2026-03",
                },
            )
        }
    },
    ("post", "/alerts"): {
        JSON: {
            "quantity": (
                "Hear of 8,000 tokens in a cycle, for each subscription of a customer",
                {"customer_id": "cus_ada", "kind": "quantity", "meter_id": METER_ID, "threshold": "8000"},
            ),
            "free": (
                "Hear when four fifths of the free threshold are used",
                {"customer_id": "cus_ada", "kind": "free_percent", "meter_id": METER_ID, "threshold": "80"},
            ),
            "amount": (
                "Hear when a cycle comes to $50",
                {"customer_id": "cus_ada", "kind": "amount", "threshold": "5000"},
            ),
        }
    },
    ("post", "/simulations"): {
        JSON: {
            "price": (
                "Half the price beyond more free units, and a fee of $9, in the cycles that ended in a year",
                {
                    "products": [
                        {
                            "product_id": PRODUCT_ID,
                            "fixed_price": 900,
                            "meters": [{"meter_id": METER_ID, "price_per_unit": "0.05", "free_threshold": 20000}],
                        }
                    ],
                    "start": "2026-01-01T00:00:00Z",
                    "end": "2027-01-01T00:00:00Z",
                },
            ),
            "threshold": (
                "Other free units in the cycles that are not closed",
                {
                    "products": [
                        {
                            "product_id": PRODUCT_ID,
                            "thresholds": [{"meter_id": METER_ID, "free_threshold": 50000}],
                        }
                    ]
                },
            ),
            "nothing": ("Nothing changed: every invoice is to be reproduced", {"start": "2026-01-01T00:00:00Z"}),
        }
    },
    ("post", "/test-clock/advance"): {
        JSON: {
            "by": ("A month on, with everything that is due on the way", {"by": "31d"}),
            "to": ("To an instant", {"to": "2026-05-01T00:00:00Z"}),
        }
    },
    ("post", "/customer-tokens"): {
        JSON: {"hour": ("An hour for one customer's page", {"customer_id": "cus_ada", "expires_in_seconds": 3600})}
    },
    ("post", "/api-keys"): {JSON: {"ingest": ("A key that can only send events", {"scope": "ingest", "name": "web"})}},
    ("post", "/subscriptions/{subscription_id}/close-cycle"): {
        JSON: {"start": ("The cycle that began then", {"cycle_start": "2026-03-01T00:00:00Z"})}
    },
}
"""Method and path, media type, and by name: what the example shows, and the body."""

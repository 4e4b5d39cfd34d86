"""API calls at $0.001 each, after 10,000 free ones a month.

12,345 calls are 2,345 beyond the free ones: 234.5 cents, rounded half away from zero to $2.35.
"""

from __future__ import annotations

from pathlib import Path

from taximeter import bill, january_customer, meter, monthly_product, send, subscribe

# Prices are in cents: a tenth of a cent is $0.001.
calls = meter("API calls", "api.call", {"type": "count"}, "call")
product = monthly_product("API", [{"meter_id": calls, "price_per_unit": "0.1", "free_threshold": 10_000}])
customer = january_customer("api-calls")
send(customer, "api.call", ({} for _ in range(12_345)))
bill(subscribe(customer, product), Path(__file__).with_suffix(".json"))

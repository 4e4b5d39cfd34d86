"""Data transfer at $5 per GB, after 10 GB free a month.

Ten transfers of 1.25 GB are 12.5 GB, 2.5 beyond the free ones: $12.50. Decimals are sent as text and stay exact.
"""

from __future__ import annotations

from pathlib import Path

from taximeter import bill, january_customer, meter, monthly_product, send, subscribe

gigabytes = meter("Transfer", "transfer", {"type": "sum", "key": "gb"}, "GB")
product = monthly_product("Storage", [{"meter_id": gigabytes, "price_per_unit": "500", "free_threshold": 10}])
customer = january_customer("transfer")
send(customer, "transfer", [{"gb": "1.25"}] * 10)
bill(subscribe(customer, product), Path(__file__).with_suffix(".json"))

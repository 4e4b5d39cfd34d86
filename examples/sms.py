"""Text messages at $0.01 each, with 100 credits included a month.

130 messages burn the 100 credits first; the other 30 are $0.30.
"""

from __future__ import annotations

from pathlib import Path

from taximeter import bill, call, january_customer, meter, monthly_product, send, subscribe

terms = {"name": "Message credits", "unit": "credit", "precision": 0}
credits = call("POST", "/credit-entitlements", {**terms, "overage_enabled": False, "rollover_enabled": False})["id"]
messages = meter("Messages", "sms.sent", {"type": "count"}, "message")
price = {
    "meter_id": messages,
    "price_per_unit": "1",
    "credit_entitlement_id": credits,
    "meter_units_per_credit": "1",
}
included = [{"credit_entitlement_id": credits, "credits_amount": "100"}]
product = monthly_product("Messages", [price], credit_entitlements=included)
customer = january_customer("sms")
send(customer, "sms.sent", ({} for _ in range(130)))
bill(subscribe(customer, product), Path(__file__).with_suffix(".json"))

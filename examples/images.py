"""Generated images at $0.04 in standard quality and at $0.08 in HD: one event, two meters with a filter each.

150 standard images and 40 in HD are $6.00 and $3.20.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taximeter import bill, january_customer, meter, monthly_product, send, subscribe


def images_in(quality: str) -> str:
    """A meter that counts the images of one quality."""
    clause: dict[str, Any] = {"key": "quality", "operator": "equals", "value": quality}
    condition = {"conjunction": "and", "clauses": [clause]}
    return meter(f"Images, {quality}", "image.generated", {"type": "count"}, "image", condition)


product = monthly_product(
    "Images",
    [
        {"meter_id": images_in("standard"), "price_per_unit": "4"},
        {"meter_id": images_in("hd"), "price_per_unit": "8"},
    ],
)
customer = january_customer("images")
send(customer, "image.generated", [{"quality": "standard"}] * 150 + [{"quality": "hd"}] * 40)
bill(subscribe(customer, product), Path(__file__).with_suffix(".json"))

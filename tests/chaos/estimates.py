"""In peace, at the end of a round: the estimate of a cycle is the invoice that its close gives."""

from __future__ import annotations

import httpx

from tests.chaos.business import Business
from tests.chaos.load import Clients

SAME = ("lines", "subtotal_amount", "tax_amount", "wallet_amount", "total_amount", "cycle_start", "cycle_end")
"""What does not belong to the moment of closing."""

TOGETHER_MAX = 12
"""Cycles that are compared for each business."""


async def compare_estimates(client: httpx.AsyncClient, business: Business, clients: Clients) -> int:
    """Estimate and close the earliest open cycle of each subscription; how many were compared."""
    compared = 0
    for subscription_id, _ in business.subscriptions[:TOGETHER_MAX]:
        head = (await client.get("/log/head", headers=business.headers)).json()["position"]
        path = f"/subscriptions/{subscription_id}"
        estimated = await client.get(f"{path}/estimate", headers=business.headers, params={"at_least": head})
        if estimated.status_code == 409:
            continue
        estimate = estimated.json()
        body = {"cycle_start": estimate["cycle_start"]}
        closed = await client.post(f"{path}/close-cycle", headers=business.headers, json=body)
        if closed.status_code == 409:
            continue  # It has not ended.
        invoice = closed.json()
        if invoice["position"] != estimate["position"]:
            continue  # Something was recorded between the two, so they need not agree.
        clients.note_invoice(business, closed.text)
        compared += 1
        for name in SAME:
            if invoice[name] != estimate[name]:
                clients.broken.append(f"estimate and invoice of {subscription_id} differ in {name}")
    return compared

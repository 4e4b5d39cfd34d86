"""Clients that send, send again, take back, close and read, and write down what they were told.

What was not answered is sent again, to whichever service, shuffled and mixed with what was answered before: so every
event arrives one to many times, in any order.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Any

import httpx
import websockets

from tests.chaos.business import DAYS_BACK, Business
from tests.chaos.evidence import EvidenceFile

PATIENCE_SECONDS = 25.0
"""How long a client waits for an answer: past the service's own wait for a locked log."""

BATCH_MAX = 40
"""Events of one request."""

POISON: tuple[dict[str, Any], ...] = (
    {"metadata": {"n": float("1e400")}},
    {"metadata": {"n": {"nested": True}}},
    {"metadata": {"n": None}},
    {"metadata": {"n": "\0"}},
    {"metadata": {"n": "x" * 501}},
    {"timestamp": "2026-02-30T00:00:00Z"},
    {"timestamp": "2026-02-03T00:00:00"},
    {"customer_id": ""},
    {"event_name": "\0"},
    {"event_name": 7},
)
"""What makes an event one that is refused."""


@dataclass
class Clients:
    """All clients of a run on one or two services."""

    urls: list[str]
    businesses: list[Business]
    evidence: EvidenceFile
    dice: Random
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    unanswered: list[tuple[Business, list[dict[str, Any]]]] = field(default_factory=list)
    answered: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unvoided: list[tuple[Business, list[str]]] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter[str])
    broken: list[str] = field(default_factory=list[str])
    made: int = 0
    joined: int = 0

    async def run(self, pause_seconds: float) -> None:
        """All of them, until the stop."""
        kinds: list[tuple[Callable[[httpx.AsyncClient], Awaitable[None]], float]] = [
            (self.send_events, pause_seconds),
            (self.send_events, pause_seconds),
            (self.send_events, pause_seconds),
            (self.void_some, 10 * pause_seconds),
            (self.close_twice, 5 * pause_seconds),
            (self.look, 5 * pause_seconds),
            (self.move_clock, 10 * pause_seconds),
            (self.join, 25 * pause_seconds),
        ]
        async with asyncio.TaskGroup() as tasks:
            for what, seconds in kinds:
                tasks.create_task(self._keep(what, seconds))
            for url in self.urls:
                tasks.create_task(self._watch(url))

    async def _keep(self, what: Callable[[httpx.AsyncClient], Awaitable[None]], seconds: float) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            while not self.stop.is_set():
                await what(client)
                await asyncio.sleep(seconds * self.dice.uniform(0.5, 1.5))

    async def request(
        self, client: httpx.AsyncClient, business: Business, method: str, path: str, **more: Any
    ) -> httpx.Response | None:
        """Ask some service; ``None`` when it gave no answer, or none that decides anything."""
        try:
            answered = await client.request(
                method, self.dice.choice(self.urls) + path, headers=business.headers, **more
            )
        except httpx.TransportError as error:
            self.statuses[type(error).__name__] += 1
            return None
        self.statuses[str(answered.status_code)] += 1
        return None if answered.status_code >= 500 else answered

    # Usage

    async def send_events(self, client: httpx.AsyncClient) -> None:
        """A batch: new, or again, or both; now and then one that conflicts or is refused."""
        business = self.dice.choice(self.businesses)
        chance = self.dice.random()
        if chance < 0.06:
            await self._send_poison(client, business)
        elif chance < 0.12 and self.answered.get(business.tenant_id):
            await self._send_conflict(client, business)
        elif chance < 0.5 and self.unanswered:
            business, batch = self.unanswered.pop(self.dice.randrange(len(self.unanswered)))
            await self.send_batch(client, business, batch)
        else:
            known = self.answered.get(business.tenant_id, [])
            again = self.dice.sample(known, min(len(known), self.dice.randrange(4)))
            new = [self.an_event(business) for _ in range(self.dice.randrange(1, BATCH_MAX))]
            await self.send_batch(client, business, [*new, *again])

    def an_event(self, business: Business) -> dict[str, Any]:
        """An event of some customer in some cycle, that has ended or has not."""
        self.made += 1
        dice = self.dice
        start = datetime.combine(business.first_day, time(), UTC)
        at = start + timedelta(microseconds=dice.randrange(DAYS_BACK * 86_400_000_000))
        name = dice.choice(("api.call", "api.call", "sms", "unknown"))
        number = dice.choice((dice.randrange(10), f"{dice.randrange(10)}.25", "many", dice.randrange(1000) / 8))
        return {
            "event_id": f"{business.tenant_id}-{self.made}",
            "customer_id": dice.choice(business.customers),
            "event_name": name,
            "timestamp": at.isoformat().replace("+00:00", "Z"),
            "metadata": {"n": number, "who": dice.choice("abcdefg")},
        }

    async def send_batch(self, client: httpx.AsyncClient, business: Business, batch: list[dict[str, Any]]) -> bool:
        """Send valid events; what is not answered is kept to be sent again."""
        self.dice.shuffle(batch)
        answered = await self.request(client, business, "POST", "/events/ingest", json={"events": batch})
        if answered is None:
            self.unanswered.append((business, batch))
            return False
        if not answered.is_success:
            self.broken.append(f"valid events were refused: {answered.status_code} {answered.text[:300]}")
            return True
        conflicts = set(answered.json()["conflicts"])
        if conflicts:
            self.broken.append(f"events that were sent again unchanged are called conflicts: {sorted(conflicts)[:3]}")
        known = self.answered.setdefault(business.tenant_id, [])
        for event in batch:
            self.evidence.note(business.tenant_id, "recorded", event=event)
            known.append(event)
        return True

    async def _send_poison(self, client: httpx.AsyncClient, business: Business) -> None:
        """A batch with one bad event: all of it is refused, and its ids are never used for anything else."""
        batch = [self.an_event(business) for _ in range(self.dice.randrange(1, 10))]
        bad = self.dice.choice(batch)
        bad.update(self.dice.choice(POISON))
        body = json.dumps({"events": batch}).replace("Infinity", "1e400")
        answered = await self.request(client, business, "POST", "/events/ingest", content=body)
        if answered is None or 400 <= answered.status_code < 500:
            # Without an answer it was refused all the same: nothing makes a bad event good.
            for event in batch:
                self.evidence.note(business.tenant_id, "refused", event_id=event["event_id"])
        else:
            self.broken.append(f"a bad event was not refused: {bad}")

    async def _send_conflict(self, client: httpx.AsyncClient, business: Business) -> None:
        event = dict(self.dice.choice(self.answered[business.tenant_id]))
        event["metadata"] = {"n": 1, "who": "somebody else"}
        answered = await self.request(client, business, "POST", "/events/ingest", json={"events": [event]})
        if answered is not None:
            self.evidence.note(business.tenant_id, "conflict", event=event)
            if answered.json().get("conflicts") != [event["event_id"]]:
                self.broken.append(f"a used id with other content is no conflict: {answered.text[:300]}")

    async def void_some(self, client: httpx.AsyncClient) -> None:
        """Take some events back."""
        if self.unvoided and self.dice.random() < 0.5:
            business, ids = self.unvoided.pop()
        else:
            business = self.dice.choice(self.businesses)
            known = self.answered.get(business.tenant_id, [])
            ids = [event["event_id"] for event in self.dice.sample(known, min(3, len(known)))]
        if ids:
            await self.void(client, business, ids)

    async def void(self, client: httpx.AsyncClient, business: Business, ids: list[str]) -> bool:
        """Take these back; without an answer they are tried again."""
        answered = await self.request(client, business, "POST", "/events/void", json={"event_ids": ids})
        if answered is None or not answered.is_success:
            self.unvoided.append((business, ids))
            return False
        self.evidence.note(business.tenant_id, "voided", event_ids=ids)
        return True

    # Closing and reading

    async def close_twice(self, client: httpx.AsyncClient) -> None:
        """Two closes of one cycle at once: both give the same bytes."""
        business = self.dice.choice(self.businesses)
        subscription_id, _ = self.dice.choice(business.subscriptions)
        start = f"{business.a_day(self.dice).isoformat()}T00:00:00Z"
        path = f"/subscriptions/{subscription_id}/close-cycle"
        answers = await asyncio.gather(
            *(self.request(client, business, "POST", path, json={"cycle_start": start}) for _ in range(2))
        )
        closed = [answered for answered in answers if answered is not None and answered.is_success]
        documents = {self.note_invoice(business, answered.text) for answered in closed}
        if len(documents) > 1:
            self.broken.append(f"two closes of one cycle gave two invoices: {subscription_id} {start}")

    def note_invoice(self, business: Business, text: str) -> str:
        """Write down what was seen of an invoice: its bytes, without the status that stands before them."""
        status = json.loads(text)["status"]
        document = text.replace(f'"status":"{status}",', "", 1)
        self.evidence.note(business.tenant_id, "invoice", invoice_id=json.loads(text)["invoice_id"], document=document)
        return document

    async def look(self, client: httpx.AsyncClient) -> None:
        """Read an invoice, the head and an estimate."""
        business = self.dice.choice(self.businesses)
        listed = await self.request(client, business, "GET", "/invoices", params={"page_size": 5})
        if listed is not None and listed.is_success and (items := listed.json()["items"]):
            path = f"/invoices/{self.dice.choice(items)['invoice_id']}"
            read = await self.request(client, business, "GET", path)
            if read is not None and read.is_success:
                self.note_invoice(business, read.text)
        head = await self.request(client, business, "GET", "/log/head")
        if head is not None and head.is_success and head.json()["position"]:
            said = head.json()
            self.evidence.note(business.tenant_id, "head", position=said["position"], digest=said["digest"])
        subscription_id, _ = self.dice.choice(business.subscriptions)
        await self.request(client, business, "GET", f"/subscriptions/{subscription_id}/estimate")

    async def move_clock(self, client: httpx.AsyncClient) -> None:
        """The clocks of tenants in test mode jump ahead by hours or days; two at once may want it."""
        for business in self.businesses:
            if business.clocked:
                hours = self.dice.choice((1, 5, 24, 30))
                await asyncio.gather(
                    *(
                        self.request(client, business, "POST", "/test-clock/advance", json={"by": f"{hours}h"})
                        for _ in range(self.dice.randrange(1, 3))
                    )
                )

    async def join(self, client: httpx.AsyncClient) -> None:
        """A new customer subscribes, as far as answers come: what was not answered is not asked again."""
        business = self.dice.choice(self.businesses)
        self.joined += 1
        customer_id = f"{business.tenant_id}-late-{self.joined}"
        made = await self.request(client, business, "POST", "/customers", json=business.customer(customer_id))
        for product_id in business.product_ids if made is not None and made.is_success else ():
            body = business.subscription(customer_id, product_id)
            answered = await self.request(client, business, "POST", "/subscriptions", json=body)
            if answered is not None and answered.is_success:
                business.subscriptions.append((answered.json()["subscription_id"], customer_id))
                business.customers.append(customer_id)

    async def _watch(self, url: str) -> None:
        """A page that watches a whole tenant, and comes back when it is hung up on."""
        business = self.businesses[0]
        while not self.stop.is_set():
            try:
                address = f"{url.replace('http', 'ws', 1)}/live"
                async with websockets.connect(address, additional_headers=business.headers, open_timeout=5) as socket:
                    await socket.send(json.dumps({"type": "subscribe", "id": "all", "tenant": True}))
                    while not self.stop.is_set():
                        async with asyncio.timeout(1):
                            await socket.recv()
            except (OSError, TimeoutError, websockets.WebSocketException):
                await asyncio.sleep(0.3)

    # The end

    async def settle(self, client: httpx.AsyncClient) -> None:
        """Send what was never answered until it is: nothing breaks any more."""
        while self.unanswered:
            business, batch = self.unanswered.pop()
            await self.send_batch(client, business, batch)
        while self.unvoided:
            business, ids = self.unvoided.pop()
            await self.void(client, business, ids)

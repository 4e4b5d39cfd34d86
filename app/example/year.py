"""Billing the year, step by step. Every step finds what an earlier run has done, so it may be run again any time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from app.example import objects
from app.example.client import Client, Json
from app.example.errors import ExampleError
from app.example.source import FlightData
from app.example.tariff import FLIGHTS, MILES, MONTHS, cycle_starts

BATCH_EVENTS = 5_000
"""Events of one request: half of what the service takes, so that the progress bar moves several times a second."""

CONFLICTS_SHOWN = 3
"""Ids named in an error: enough to look at one, few enough to read."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class CarrierBill:
    """A carrier's year: what its invoices say it used, how many they are, and their sum in cents."""

    carrier: str
    name: str
    flights: Decimal
    miles: Decimal
    invoices: tuple[Json, ...]

    @property
    def total_amount(self) -> int:
        """Cents."""
        return sum(invoice["total_amount"] for invoice in self.invoices)


@dataclass(frozen=True)
class Sent:
    """What became of the events, the log's position after the last one, and the seconds that sending took."""

    ingested: int
    duplicates: int
    position: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """One run: the events that were sent and every carrier's bill."""

    sent: Sent
    bills: tuple[CarrierBill, ...]


def bill_year(client: Client, data: FlightData, progress: Progress) -> Outcome:
    """Declare the tariff, send every flight, close twelve cycles of every carrier. Raises ``ExampleError``."""
    objects.accept_old_events(client)
    meter_ids = objects.meters(client)
    product_ids = objects.products(client, meter_ids)
    carriers = data.carriers()
    objects.customers(client, carriers)
    sent = send(client, data, progress)
    client.get(f"/meters/{meter_ids[FLIGHTS.name]}/usage", at_least=sent.position)
    # Subscriptions come after the flights: the service closes their past cycles by itself some time after it has
    # learnt of them, and a run that breaks off half-way must not leave a year that is invoiced in part.
    subscriptions = {carrier: objects.subscription(client, carrier, product_ids.values()) for carrier in carriers}
    close(client, subscriptions, progress)
    bills = [
        _bill(carrier, carriers[carrier], meter_ids, _invoices(client, subscription_id))
        for carrier, subscription_id in subscriptions.items()
    ]
    return Outcome(sent, tuple(bills))


def send(client: Client, data: FlightData, progress: Progress) -> Sent:
    """Send every flight, in the order of the file. Raises ``ExampleError`` when an id is taken by another event."""
    total, done, ingested, duplicates, position = data.count(), 0, 0, 0, 0
    conflicts: list[str] = []
    encoder = msgspec.json.Encoder()
    events, began = data.events(), time.perf_counter()
    while batch := list(itertools.islice(events, BATCH_EVENTS)):
        receipt = client.ingest(encoder.encode_lines(batch))
        ingested += receipt["ingested_count"]
        duplicates += receipt["duplicate_count"]
        conflicts += receipt["conflicts"]
        position = receipt["position"]
        done += len(batch)
        progress("Sending flights", done, total)
    if conflicts:
        raise ExampleError(
            f"{len(conflicts)} flights were not recorded, since their ids are taken by other events"
            f" (such as {', '.join(conflicts[:CONFLICTS_SHOWN])}); run the example in a tenant of its own"
        )
    return Sent(ingested, duplicates, position, time.perf_counter() - began)


def close(client: Client, subscriptions: Mapping[str, str], progress: Progress) -> None:
    """Close every cycle that has no invoice yet, month by month, so that invoice numbers follow the calendar."""
    closed = {
        subscription_id: {_instant(invoice["cycle_start"]) for invoice in _invoices(client, subscription_id)}
        for subscription_id in subscriptions.values()
    }
    done, total = 0, MONTHS * len(subscriptions)
    for start in cycle_starts():
        for subscription_id in subscriptions.values():
            if start not in closed[subscription_id]:
                body = {"cycle_start": start.isoformat()}
                client.post(f"/subscriptions/{subscription_id}/close-cycle", body)
            done += 1
            progress("Closing months", done, total)


def _invoices(client: Client, subscription_id: str) -> list[Json]:
    """The invoices of a subscription that stand, the earliest cycle first."""
    found = client.items("/invoices", subscription_id=subscription_id)
    standing = [invoice for invoice in found if invoice["status"] != "void"]
    return sorted(standing, key=lambda invoice: _instant(invoice["cycle_start"]))


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _bill(carrier: str, name: str, meter_ids: Mapping[str, str], invoices: Iterable[Json]) -> CarrierBill:
    kept = tuple(invoices)
    return CarrierBill(
        carrier=carrier,
        name=name,
        flights=_consumed(kept, meter_ids[FLIGHTS.name]),
        miles=_consumed(kept, meter_ids[MILES.name]),
        invoices=kept,
    )


def _consumed(invoices: Iterable[Json], meter_id: str) -> Decimal:
    """What the usage lines of a meter add up to."""
    lines = [line for invoice in invoices for line in invoice["lines"]]
    used = (
        Decimal(line["consumed_units"]) for line in lines if (line["kind"], line["meter_id"]) == ("usage", meter_id)
    )
    return sum(used, Decimal(0))

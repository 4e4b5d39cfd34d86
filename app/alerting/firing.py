"""Firing alerts: what was reached is seen in a snapshot or at a close, and decided under the lock of the head.

A value is what was known at a position of the log, so it stays true; whether the alert has fired for the cycle already
is asked again under the lock.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.alerting.rows import SQL, StandingAlert, standing_alerts
from app.alerting.values import value_of
from app.crediting import subscriptions_of
from app.opening import open_cycles
from app.reading_log import reading
from app.reckoning import Reckoning, reckon
from app.service import Caller, Service
from app.transaction import Transaction, transaction
from domain.alert import Alert, Reached, crossed
from domain.plan import OpenedCycle
from domain.subscription import Subscription
from projections.aggregates import Aggregates, known
from projections.fault_points import FaultPoint, reach


class Crossing(msgspec.Struct, frozen=True):
    """A threshold that was reached in a cycle and has not fired for it, as far as a snapshot knows."""

    alert: StandingAlert
    reached: Reached


async def look_at(service: Service, caller: Caller, customer_id: str) -> int:
    """Fire what the customer's unclosed cycles have reached, in rising order; the number of firings."""
    async with reading(service, caller) as seen:
        crossings = await _crossings(seen, customer_id)
        await reach(FaultPoint.alert_seen)
    return await _fire(service, caller, crossings) if crossings else 0


async def fire_at_close(running: Transaction, reckoning: Reckoning, alerts: Sequence[StandingAlert]) -> None:
    """Fire, in the transaction of a close, those of the customer's alerts that the invoiced usage reached and that
    nobody has looked at yet.
    """
    subscription, cycle = reckoning.subscription, reckoning.cycle
    if cycle is None:
        return
    concerned = [alert for alert in alerts if alert.concerns(subscription.object_id)]
    for crossing in _reached(concerned, reckoning, cycle, running):
        known(await running.find(Alert, crossing.alert.alert_id)).fire(crossing.reached, running.now)


async def _crossings(seen: Aggregates, customer_id: str) -> list[Crossing]:
    """What was reached and has not fired, of all unclosed cycles of a customer. Cycles that have nothing left to fire
    are not reckoned.
    """
    alerts = await standing_alerts(seen.database, seen.tenant_id, customer_id)
    cycles = await _unclosed_cycles(seen, customer_id) if alerts else []
    rows = await seen.database.fetch(
        SQL["fired_cycles"],
        seen.tenant_id,
        [alert.alert_id for alert in alerts],
        [cycle.start for _, cycle in cycles],
    )
    fired = {(row["alert_id"], row["subscription_id"], row["cycle_start"]) for row in rows}
    found: list[Crossing] = []
    for subscription_id, cycle in cycles:
        waiting = [
            alert
            for alert in alerts
            if alert.concerns(subscription_id) and (alert.alert_id, subscription_id, cycle.start) not in fired
        ]
        if waiting:
            found += await _reached_in(seen, subscription_id, cycle, waiting)
    # Sorting is stable, and alerts fire in this order: so the thresholds rise in each cycle.
    return sorted(found, key=lambda crossing: crossing.alert.rank)


async def _unclosed_cycles(seen: Aggregates, customer_id: str) -> list[tuple[str, OpenedCycle]]:
    found: list[tuple[str, OpenedCycle]] = []
    for subscription in await subscriptions_of(seen, customer_id):
        await open_cycles(seen, subscription, seen.now)
        found += [(subscription.object_id, cycle) for cycle in subscription.cycles if cycle.invoice_id is None]
    return found


async def _reached_in(
    seen: Aggregates, subscription_id: str, cycle: OpenedCycle, alerts: Sequence[StandingAlert]
) -> list[Crossing]:
    """Reckon one cycle of the snapshot as its estimate would.

    With aggregates of its own: a reckoning may open cycles that are yet to come.
    """
    own = Aggregates(seen.database, seen.tenant_id, seen.now, seen.position, seen.counted)
    subscription = await own.get(Subscription, subscription_id)
    await open_cycles(own, subscription, own.now)
    return _reached(alerts, await reckon(own, subscription, cycle), cycle, own)


def _reached(
    alerts: Sequence[StandingAlert], reckoning: Reckoning, cycle: OpenedCycle, as_known: Aggregates
) -> list[Crossing]:
    """Those of the alerts whose thresholds the reckoned cycle has reached, in the order given."""
    found: list[Crossing] = []
    for alert in alerts:
        value = value_of(reckoning, cycle, alert.target, as_known.now)
        if value is not None and crossed(alert.threshold, value):
            reached = Reached(
                subscription_id=reckoning.subscription.object_id,
                cycle_start=cycle.start,
                cycle_end=cycle.end,
                value=value,
                position=as_known.position,
            )
            found.append(Crossing(alert, reached))
    return found


async def _fire(service: Service, caller: Caller, crossings: Sequence[Crossing]) -> int:
    """Fire what still may: an alert that fired since for the cycle, or was deleted, refuses by itself.

    A cycle that was closed since has fired all of its own; one that was moved since is looked at again.
    """
    fired = 0
    async with transaction(service, caller, "alert.fire") as running:
        # First what the alerts look at, for a commit states its events in the order in which their streams were met.
        for subscription_id in dict.fromkeys(crossing.reached.subscription_id for crossing in crossings):
            subscription = await running.get(Subscription, subscription_id)
            await open_cycles(running, subscription, running.now)
        for crossing in crossings:
            reached = crossing.reached
            cycle = (await running.get(Subscription, reached.subscription_id)).cycle_starting(reached.cycle_start)
            if cycle is not None and cycle.invoice_id is None and cycle.end == reached.cycle_end:
                alert = known(await running.find(Alert, crossing.alert.alert_id))
                fired += alert.fire(reached, running.now)
                await reach(FaultPoint.alert_fired)
    return fired

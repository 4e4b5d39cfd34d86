"""One thing that a socket is shown: what of it waits to be sent, and how the next frame brings the client forward."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from app.alerting.rows import AlertFiring
from app.live.changed import Difference, listed
from app.live.frames import Subscribe
from app.live.standing import Standing

ALERTS_PAGE = 50
"""Alerts read at once: some ten kilobytes."""


Compare: TypeAlias = Callable[[Standing, Standing, str | None], Difference]
"""How two states are compared; see ``app.live.changed.difference``."""


class Step(NamedTuple):
    """The frame that brings a client to a state: which cycles of it, as of which position."""

    kind: Literal["snapshot", "update"]
    position: int
    indexes: tuple[int, ...]


class AlertPage(NamedTuple):
    """Alerts to be read: those recorded in ``(after, until]``, at most ``limit``; of all customers without one."""

    subscription: Subscription
    customer_id: str | None
    after: int
    until: int
    limit: int = ALERTS_PAGE


class Shown:
    """The state of one customer that was sent last, and the position it was called. ``whole``: send the next whole."""

    __slots__ = ("position", "standing", "whole")

    def __init__(self, standing: Standing, position: int) -> None:
        self.standing = standing
        self.position = position
        self.whole = False


class Subscription:
    """What a client subscribed to. Without ``customer_id`` it is the whole tenant.

    What was known ``after`` a position the client knows already, and no frame is called by less than ``floor``. Of a
    tenant it knows the alerts only: values of its customers are sent one after the other, so that no position of theirs
    says that all were; each begins with a snapshot again.
    """

    __slots__ = (
        "_alerts_from",
        "_alerts_told",
        "_shown",
        "after",
        "customer_id",
        "firings",
        "floor",
        "name",
        "opened",
        "pending",
        "reads_alerts",
        "subscription_id",
    )

    def __init__(self, frame: Subscribe, customer_id: str | None) -> None:
        self.name = frame.id
        self.customer_id = customer_id
        self.subscription_id = frame.subscription_id
        self.after = frame.after
        self.floor = 0 if customer_id is None else frame.after or 0
        self.opened = False
        self.pending: dict[str, Standing] = {}
        self.firings: deque[AlertFiring] = deque()
        self.reads_alerts = False
        self._shown: dict[str, Shown] = {}
        self._alerts_from = self._alerts_told = frame.after or 0

    def open(self, position: int, alerts_until: int) -> None:
        """Whatever it shows was offered once, as of ``position``. Alerts are sent from there, or from ``after``.

        No alert was recorded past ``alerts_until`` before the subscription was told of them.
        """
        self.opened = True
        if self.after is None:
            self._alerts_from = self._alerts_told = max(self._alerts_told, position)
        else:
            self.told_of_alerts(alerts_until)
        if self.customer_id is not None:
            self.floor = max(self.floor, position)

    @property
    def owes_alerts(self) -> bool:
        """Whether alerts have to be read before anything else is sent."""
        return self._alerts_from < self._alerts_told

    @property
    def has_work(self) -> bool:
        """Whether there may be a frame to take."""
        return not self.reads_alerts and bool(self.pending or self.firings or self.owes_alerts)

    def told_of_alerts(self, position: int) -> None:
        """Alerts were recorded up to here."""
        self._alerts_told = max(self._alerts_told, position)

    def alerts_to_read(self) -> AlertPage:
        """The next page that is owed; ``take_in`` has to follow."""
        self.reads_alerts = True
        return AlertPage(self, self.customer_id, self._alerts_from, self._alerts_told)

    def take_in(self, page: AlertPage, firings: Sequence[AlertFiring]) -> None:
        """What a page held, in order of position."""
        self.reads_alerts = False
        if firings:
            self._alerts_from = firings[-1].position
        if len(firings) < page.limit:
            self._alerts_from = max(self._alerts_from, page.until)
        self.firings.extend(one for one in firings if self.subscription_id in (None, one.subscription_id))

    def followed_by(self, standing: Standing) -> Shown | None:
        """What was sent last of the customer, when an update to ``standing`` may follow it at once. ``None`` when
        something waits to be sent before, when more than an update is owed, or when the state is an old one.
        """
        shown = self._shown.get(standing.customer_id)
        if shown is None or shown.whole or self.pending or self.reads_alerts or self.firings or self.owes_alerts:
            return None
        position = standing.position
        if position < self.floor or position < shown.position or position < shown.standing.position:
            return None
        return shown

    def is_news(self, standing: Standing) -> bool:
        """Whether a state is newer than what waits to be sent or was sent."""
        shown = self._shown.get(standing.customer_id)
        newest = self.pending.get(standing.customer_id) or (shown.standing if shown else None)
        return newest is None or (newest is not standing and standing.position >= newest.position)

    def offer(self, standing: Standing) -> bool:
        """Let the newest state of a customer wait in the place of an older one. Says whether it is news."""
        news = self.is_news(standing)
        if news:
            self.pending[standing.customer_id] = standing
        return news

    def resync(self) -> None:
        """Send the next state of every customer whole."""
        for shown in self._shown.values():
            shown.whole = True

    def step(self, standing: Standing, difference: Compare) -> Step | None:
        """How the client comes to ``standing``, which counts as sent then; ``None`` when it shows nothing new."""
        shown = self._shown.get(standing.customer_id)
        if shown is None:
            step = self._first(standing, listed(standing, self.subscription_id))
            self._shown[standing.customer_id] = Shown(standing, step.position)
            return step
        changed = difference(shown.standing, standing, self.subscription_id)
        if not (shown.whole or changed.gone or changed.indexes):
            shown.standing = standing
            return None
        position = max(standing.position, self.floor, shown.position)
        if shown.whole or changed.gone:
            step = Step("snapshot", position, listed(standing, self.subscription_id))
        else:
            step = Step("update", position, changed.indexes)
        shown.standing, shown.position, shown.whole = standing, position, False
        return step

    def _first(self, standing: Standing, everything: tuple[int, ...]) -> Step:
        position = max(standing.position, self.floor)
        if self.after is None or self.customer_id is None:
            return Step("snapshot", position, everything)
        newer = tuple(index for index in everything if standing.changed[index] > self.after)
        # Where nothing is known to be as it was, something may be gone as well.
        none_kept = len(newer) == len(everything) and standing.position > self.after
        if none_kept or standing.left > self.after:
            return Step("snapshot", position, everything)
        return Step("update", position, newer)

"""The conversation on one socket, without I/O: frames and offers go in, the frames to send are taken one by one.

Of each subscription only the newest state of a customer waits to be taken, so a slow reader gets fewer and newer
frames, and what waits never grows. Alerts wait as two positions between which they are owed; their rows are read a page
at a time, when the socket can take them. Time is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from app.alerting.rows import AlertFiring
from app.live import frames
from app.live.shared import Shared
from app.live.standing import Standing
from app.live.subscription import AlertPage, Subscription

SUBSCRIPTIONS_MAX = 100
"""Subscriptions of one socket: more than a page shows. Whoever wants more of a tenant subscribes to the tenant."""

ERRORS_MAX = 16
"""Error frames that wait to be taken. A socket with so many is not read from until it has taken one."""

HEARTBEAT_SECONDS = 15.0
"""How long nothing is sent before a heartbeat is: half of what most proxies take for a dead connection."""

INCOMING_BURST_MAX = 250.0
INCOMING_PER_SECOND = 10.0
"""Frames that a client may send at once, and after that each second: to subscribe to everything again, and more."""


class Outlet(Protocol):
    """The way to the client."""

    def wake(self) -> None:
        """There is something to ``take``."""
        ...

    def send(self, text: str) -> bool:
        """Send a frame at once. False, and nothing is sent, while something that was taken is still on its way."""
        ...


class Conversation:
    """The state of one socket. It is the ``Watcher`` that the feed knows."""

    def __init__(self, shared: Shared, outlet: Outlet, now: float) -> None:
        self._shared = shared
        self._outlet = outlet
        self._subscriptions: dict[str, Subscription] = {}
        self._by_customer: dict[str, list[Subscription]] = {}
        self._of_tenant: list[Subscription] = []
        self._errors: deque[str] = deque()
        self._ready: dict[Subscription, None] = {}
        self._highest = 0
        self._confirms = False
        self._allowed = INCOMING_BURST_MAX
        self._heard_at = now
        self._heartbeat_at = now + HEARTBEAT_SECONDS
        self._spoke = False
        self.close_code: int | None = None

    # What comes in from the client

    def receive(self, text: str, now: float) -> frames.Subscribe | Subscription | None:
        """A frame of the client: a subscription to begin, or one that has ended; ``None`` when nothing is to be done.

        Whatever is wrong with it is answered by an error frame.
        """
        if not self._may_speak(now):
            return None
        try:
            frame = frames.read(text)
            if isinstance(frame, frames.Unsubscribe):
                return self._end_named(frame.id)
            self._check_room(frame.id)
        except frames.FrameRefused as refused:
            self.refuse(refused.code, refused.message, refused.name)
            return None
        return frame

    def receive_binary(self, now: float) -> None:
        """A binary message, which says nothing here."""
        if self._may_speak(now):
            self.refuse("BINARY_FRAME", "frames are JSON text; a binary message is not read")

    def _may_speak(self, now: float) -> bool:
        if self.close_code is not None:
            return False
        elapsed, self._heard_at = now - self._heard_at, now
        self._allowed = min(INCOMING_BURST_MAX, self._allowed + elapsed * INCOMING_PER_SECOND) - 1
        if self._allowed < 0:
            self.finish(1008, "TOO_MANY_FRAMES", f"more than {INCOMING_PER_SECOND:g} frames a second were sent")
            return False
        return True

    def _check_room(self, name: str) -> None:
        if name in self._subscriptions:
            raise frames.FrameRefused("ID_IN_USE", f"id: {name!r} is subscribed already; unsubscribe it first", name)
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            rule = f"id: a socket has at most {SUBSCRIPTIONS_MAX} subscriptions"
            raise frames.FrameRefused("TOO_MANY_SUBSCRIPTIONS", rule, name)

    def _end_named(self, name: str) -> Subscription:
        if name not in self._subscriptions:
            raise frames.FrameRefused("NOT_SUBSCRIBED", f"id: nothing is subscribed as {name!r}", name)
        subscription = self._subscriptions[name]
        self.end(subscription)
        return subscription

    def refuse(self, code: str, message: str, name: str | None = None) -> None:
        """Answer with an error; the conversation goes on."""
        if self.close_code is None:
            self._errors.append(frames.error(code, message, name))
            self._outlet.wake()

    @property
    def crowded(self) -> bool:
        """Whether so many errors wait that nothing more should be read from the client."""
        return len(self._errors) >= ERRORS_MAX

    def finish(self, close_code: int, code: str, message: str) -> None:
        """Say why, and nothing more: whatever waited is dropped, and the socket is to be closed with ``close_code``."""
        if self.close_code is not None:
            return
        for subscription in list(self._subscriptions.values()):
            self.end(subscription)
        self._errors.clear()
        self._errors.append(frames.error(code, message))
        self.close_code = close_code
        self._outlet.wake()

    # Subscriptions

    def begin(self, frame: frames.Subscribe, customer_id: str | None, alerts_until: int) -> Subscription:
        """Take in a subscription that is allowed; offers for it may come from now on.

        The feed has seen the log up to the frame's ``after`` and further; no alert in it is past ``alerts_until``.
        """
        subscription = Subscription(frame, customer_id)
        self._highest = max(self._highest, frame.after or 0)
        if frame.after is not None:
            subscription.told_of_alerts(alerts_until)
        self._subscriptions[frame.id] = subscription
        if customer_id is None:
            self._of_tenant.append(subscription)
        else:
            self._by_customer.setdefault(customer_id, []).append(subscription)
        return subscription

    def opened(self, subscription: Subscription, position: int, alerts_until: int) -> None:
        """Whatever it shows was offered once, as of ``position``: from now on alerts and heartbeats are sent, too.

        In what the feed has seen of the log by now no alert is past ``alerts_until``.
        """
        if self._subscriptions.get(subscription.name) is not subscription:
            return
        subscription.open(position, alerts_until)
        if subscription.customer_id is None:
            # By a heartbeat the client knows that it was told of everybody who has an open cycle.
            self._confirms = True
        self._has_news(subscription)

    def end(self, subscription: Subscription) -> None:
        """Forget a subscription and whatever of it waits."""
        self._subscriptions.pop(subscription.name, None)
        same = self._of_tenant
        if subscription.customer_id is not None:
            same = self._by_customer.get(subscription.customer_id, [])
        if subscription in same:
            same.remove(subscription)
        if subscription.customer_id is not None and not same:
            self._by_customer.pop(subscription.customer_id, None)
        self._ready.pop(subscription, None)

    def forget(self) -> None:
        """The socket is gone, and nobody is to be woken any more."""
        self._outlet = _Gone()

    def still_needs(self, customer_id: str | None) -> bool:
        """Whether a subscription shows this customer by name; of ``None``, whether one shows the tenant."""
        return bool(self._of_tenant) if customer_id is None else customer_id in self._by_customer

    def subscriptions(self) -> Iterator[Subscription]:
        """Those there are."""
        return iter(list(self._subscriptions.values()))

    # What comes in from the feed

    def offer(self, standing: Standing) -> None:
        """The newest state of a customer; see ``Watcher``."""
        news = False
        for subscription in self._by_customer.get(standing.customer_id, ()):
            news |= self._offer_to(subscription, standing)
        for subscription in self._of_tenant:
            news |= self._offer_to(subscription, standing)
        if news:
            self._outlet.wake()

    def _offer_to(self, subscription: Subscription, standing: Standing) -> bool:
        """Show a state at once where nothing else waits, or let it wait. Says whether there is something to take."""
        if not (self._ready or self._errors or self.close_code) and self._updates(subscription, standing):
            return False
        waits = standing.customer_id in subscription.pending
        news = subscription.offer(standing)
        self._shared.values_dropped += news and waits
        if news and subscription.has_work:
            self._ready[subscription] = None
        return news

    def _updates(self, subscription: Subscription, standing: Standing) -> bool:
        """The short way of the many values that merely go on, each to thousands of sockets. Says whether it was one."""
        shown = subscription.followed_by(standing)
        if shown is None:
            return False
        text = self._shared.update(shown.standing, standing, subscription.subscription_id, subscription.name)
        if text is None or (text and not self._outlet.send(text)):
            return False
        shown.standing = standing
        if text:
            shown.position = standing.position
            self._highest = max(self._highest, standing.position)
            self._spoke = True
        return True

    def alerts_until(self, position: int) -> None:
        """Alerts were recorded up to here; see ``Watcher``."""
        for subscription in self._subscriptions.values():
            if subscription.opened or subscription.after is not None:
                subscription.told_of_alerts(position)
                self._has_news(subscription)

    def resync(self) -> None:
        """The next state of every customer is sent whole; see ``Watcher``."""
        for subscription in self._subscriptions.values():
            subscription.resync()

    def _has_news(self, subscription: Subscription) -> None:
        if subscription.has_work:
            self._ready[subscription] = None
        self._outlet.wake()

    def alerts(self, page: AlertPage, firings: Sequence[AlertFiring]) -> None:
        """What was asked for with an ``AlertPage``, in order of position."""
        subscription = page.subscription
        if self._subscriptions.get(subscription.name) is subscription:
            subscription.take_in(page, firings)
            self._has_news(subscription)

    # What goes out

    def take(self, now: float, position: int) -> str | AlertPage | None:
        """The next frame to send, a page of alerts to read first, or ``None`` when there is nothing at the moment.

        Subscriptions take turns. The feed has made every offer up to ``position``, which a heartbeat says when nothing
        else is to be said.
        """
        if self._errors:
            return self._said(self._errors.popleft(), now)
        while self._ready:
            subscription = next(iter(self._ready))
            del self._ready[subscription]
            taken = self._take_from(subscription)
            if subscription.has_work:
                self._ready[subscription] = None
            if isinstance(taken, str):
                return self._said(taken, now)
            if taken is not None:
                return taken
        if self.wants_heartbeat(now) and position >= self._highest and self._is_quiet():
            self._highest, self._confirms = position, False
            return self._said(frames.heartbeat(position), now)
        return None

    def wants_heartbeat(self, now: float) -> bool:
        """Whether a heartbeat is due, or was promised, and waits for a quiet moment."""
        if self._spoke:
            self._spoke, self._heartbeat_at = False, now + HEARTBEAT_SECONDS
        return self._confirms or now >= self._heartbeat_at

    def _is_quiet(self) -> bool:
        """Whether everything that was offered has been sent."""
        return self.close_code is None and not any(
            not one.opened or one.reads_alerts or one.has_work for one in self._subscriptions.values()
        )

    def _said(self, text: str, now: float) -> str:
        self._heartbeat_at = now + HEARTBEAT_SECONDS
        return text

    @property
    def idle(self) -> bool:
        """Whether nothing is left to take or to do but, it may be, a heartbeat that is due."""
        return not (self._ready or self._errors or self._confirms or self.close_code)

    @property
    def waiting(self) -> int:
        """How many states, alerts and errors are held until they are taken."""
        held = (len(one.pending) + len(one.firings) for one in self._subscriptions.values())
        return sum(held) + len(self._errors)

    def _take_from(self, subscription: Subscription) -> str | AlertPage | None:
        # Alerts come before the values that are as new as they are: a client that carries on from the position of what
        # it has read then has read the alerts up to it, too.
        if subscription.firings:
            return frames.alert(subscription.name, subscription.firings.popleft())
        if subscription.owes_alerts:
            return subscription.alerts_to_read()
        while subscription.pending:
            text = self._shown(subscription, subscription.pending.pop(next(iter(subscription.pending))))
            if text is not None:
                return text
        return None

    def _shown(self, subscription: Subscription, standing: Standing) -> str | None:
        step = subscription.step(standing, self._shared.difference)
        if step is None:
            return None
        self._highest = max(self._highest, step.position)
        return self._shared.frame(step.kind, subscription.name, standing, step.position, step.indexes)


class _Gone:
    """The outlet of a socket that is gone."""

    def wake(self) -> None:
        """Nobody is there to wake."""

    def send(self, text: str) -> bool:
        """Nothing is sent."""
        return False

"""Any interleaving of changes, reading, subscribing, leaving and coming back: in the end the client knows all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.live.conversation import Conversation
from app.live.frames import Subscribe
from app.live.shared import Shared
from app.live.standing import CycleStanding, Standing
from app.live.subscription import AlertPage, Subscription
from tests.app.live.standings import cycle

CUSTOMERS = ("ada", "bob")
NAMES = {
    "a": {"customer_id": "ada"},
    "b": {"customer_id": "bob"},
    "s": {"subscription_id": "sub_2"},
    "t": {"tenant": True},
}


@dataclass
class Fired:
    """A row of an alert; ``customer_id`` is for the reader below."""

    position: int
    customer_id: str
    subscription_id: str = "sub_1"


@dataclass
class Customer:
    """A customer as the feed holds it. A cycle's object stays the same as long as its values do."""

    cycles: dict[tuple[str, int], tuple[CycleStanding, int]] = field(default_factory=dict)
    left: int = 0


@dataclass
class Known:
    """What a client knows of one subscription; it outlives the socket, as ``after`` does."""

    values: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    after: int | None = None
    last: dict[str, int] = field(default_factory=dict)
    alerts: list[int] = field(default_factory=list)
    alerts_since: int = 0


class Machine(RuleBasedStateMachine):
    """A feed, a socket and its client."""

    def __init__(self) -> None:
        super().__init__()
        self.position = 10
        self.offered: dict[str, int] = {}
        self.now = 0.0
        self.customers = {name: Customer() for name in CUSTOMERS}
        self.fired: list[Fired] = []
        self.known: dict[str, Known] = {}
        self.begun: dict[str, Subscription] = {}
        self.page: AlertPage | None = None
        self.is_free = False
        self.connect()
        for name in CUSTOMERS:
            self.put(name, "sub_1", 1, 0)

    def connect(self) -> None:
        self.conversation = Conversation(Shared(bodies_max=4), self, self.now)
        self.begun, self.page = {}, None

    # The way to the client, on which frames are sent at once whenever it is free

    def wake(self) -> None:
        pass

    def send(self, text: str) -> bool:
        if not self.is_free or self.page is not None:
            return False
        self.understand(json.loads(text))
        return True

    @rule(free=st.booleans())
    def keeps_up(self, free: bool) -> None:
        self.is_free = free

    # The feed

    def standing(self, customer_id: str) -> Standing:
        held = self.customers[customer_id]
        cycles = tuple(one for one, _ in held.cycles.values())
        return Standing(customer_id, self.position, cycles, tuple(at for _, at in held.cycles.values()), held.left)

    def put(self, customer_id: str, subscription_id: str, month: int, quantity: int) -> None:
        value = cycle(quantity, subscription_id=subscription_id, month=month)
        self.customers[customer_id].cycles[subscription_id, month] = (value, self.position)

    def offer(self, customer_id: str) -> None:
        self.offered[customer_id] = self.position
        self.conversation.offer(self.standing(customer_id))

    @rule(
        customer_id=st.sampled_from(CUSTOMERS),
        subscription_id=st.sampled_from(["sub_1", "sub_2"]),
        month=st.integers(1, 3),
        quantity=st.integers(0, 9),
    )
    def usage(self, customer_id: str, subscription_id: str, month: int, quantity: int) -> None:
        if subscription_id == "sub_2" and customer_id != "ada":
            return
        self.position += 1
        self.put(customer_id, subscription_id, month, quantity)
        self.offer(customer_id)

    @rule(customer_id=st.sampled_from(CUSTOMERS), data=st.data())
    def close(self, customer_id: str, data: st.DataObject) -> None:
        held = self.customers[customer_id]
        if held.cycles:
            self.position += 1
            del held.cycles[data.draw(st.sampled_from(sorted(held.cycles)))]
            held.left = self.position
            self.offer(customer_id)

    @rule(customer_id=st.sampled_from(CUSTOMERS))
    def offered_once_more(self, customer_id: str) -> None:
        self.offer(customer_id)

    @rule(customer_id=st.sampled_from(CUSTOMERS))
    def an_old_offer_comes_late(self, customer_id: str) -> None:
        if self.customers[customer_id].cycles:
            older = self.offered.get(customer_id, 1) - 1
            self.conversation.offer(Standing(customer_id, older, (cycle(99),), (older,), 0))

    @rule()
    def the_database_was_lost(self) -> None:
        self.conversation.resync()

    @rule(customer_id=st.sampled_from(CUSTOMERS), quantity=st.integers(0, 9))
    def alert(self, customer_id: str, quantity: int) -> None:
        """An alert fires after a change of its customer; the feed tells of it before it offers what is newer."""
        self.position += 2
        self.fired.append(Fired(self.position, customer_id))
        self.put(customer_id, "sub_1", 1, quantity)
        self.conversation.alerts_until(self.position)
        self.offer(customer_id)

    # The client

    @rule(name=st.sampled_from(sorted(NAMES)), back=st.booleans())
    def subscribe(self, name: str, back: bool) -> None:
        if name in self.begun:
            return
        known = self.known.get(name)
        target: dict[str, Any] = dict(NAMES[name])
        if back and known is not None and known.after is not None:
            target["after"] = known.after
            known.last = dict.fromkeys(CUSTOMERS, known.after) if "tenant" not in target else {}
            if "tenant" in target:
                # Whoever is not named again has no open cycle any more.
                known.values = {}
        else:
            self.known[name] = Known()
        frame = self.conversation.receive(json.dumps({"type": "subscribe", "id": name, **target}), self.now)
        assert isinstance(frame, Subscribe)
        customer_id = None if frame.tenant else frame.customer_id or "ada"
        subscription = self.begun[name] = self.conversation.begin(frame, customer_id, self.position)
        for one in CUSTOMERS if customer_id is None else (customer_id,):
            # Of a tenant, those who have open cycles are offered.
            if customer_id is not None or self.customers[one].cycles:
                self.offer(one)
        self.conversation.opened(subscription, self.position, self.position)
        if "after" not in target:
            self.known[name].alerts_since = self.position

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.begun)))
        self.conversation.receive(json.dumps({"type": "unsubscribe", "id": name}), self.now)
        del self.begun[name]

    @rule()
    def hang_up(self) -> None:
        self.now += 60
        self.connect()

    @rule(seconds=st.sampled_from([0.0, 0.05, 20.0]), count=st.integers(1, 4))
    def read(self, seconds: float, count: int) -> None:
        self.now += seconds
        for _ in range(count):
            if not self.read_one():
                return

    def read_one(self) -> bool:
        if self.page is not None:
            page, self.page = self.page, None
            wanted = (None, page.customer_id) if page.customer_id is None else (page.customer_id,)
            rows = [
                one
                for one in self.fired
                if page.after < one.position <= page.until and (None in wanted or one.customer_id in wanted)
            ]
            self.conversation.alerts(page, rows[: page.limit])
            return True
        taken = self.conversation.take(self.now, self.position)
        if isinstance(taken, AlertPage):
            self.page = taken
        elif taken is not None:
            self.understand(json.loads(taken))
        return taken is not None

    def understand(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "heartbeat":
            for name in self.begun:
                known = self.known[name]
                assert frame["position"] >= (known.after or 0)
                known.last, known.after = dict.fromkeys(CUSTOMERS, frame["position"]), frame["position"]
            return
        known = self.known[frame["id"]]
        if frame["type"] == "alert":
            if not known.alerts or frame["firing"]["position"] > known.alerts[-1]:
                known.alerts.append(frame["firing"]["position"])
            return
        assert frame["position"] >= known.last.get(frame["customer_id"], 0)
        known.last[frame["customer_id"]] = known.after = frame["position"]
        if frame["type"] == "snapshot":
            known.values[frame["customer_id"]] = {}
        values = known.values.setdefault(frame["customer_id"], {})
        for one in frame["subscriptions"]:
            values[one["subscription_id"], one["cycle_start"]] = one["meters"][0]["quantity"]

    # What holds

    @invariant()
    def what_waits_is_bounded(self) -> None:
        pages = len(self.fired) * len(self.begun)
        assert self.conversation.waiting <= len(self.begun) * len(CUSTOMERS) + pages

    def expected(self, name: str) -> dict[str, dict[tuple[str, str], str]]:
        target = NAMES[name]
        shown = CUSTOMERS if "tenant" in target else (target.get("customer_id", "ada"),)
        return {
            customer_id: {
                (one.subscription_id, one.cycle_start): one.meters[0].quantity
                for one, _ in self.customers[customer_id].cycles.values()
                if target.get("subscription_id") in (None, one.subscription_id)
            }
            for customer_id in shown
        }

    def teardown(self) -> None:
        self.now += 1
        for _ in range(1_000):
            if not self.read_one():
                break
        assert self.conversation.waiting == 0
        for name, subscription in self.begun.items():
            known, target = self.known[name], NAMES[name]
            for customer_id, values in self.expected(name).items():
                assert known.values.get(customer_id, {}) == values, f"{name} {customer_id}"
            assert known.alerts == [
                one.position
                for one in self.fired
                if one.position > known.alerts_since
                and (subscription.customer_id in (None, one.customer_id))
                and target.get("subscription_id") in (None, one.subscription_id)
            ]


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

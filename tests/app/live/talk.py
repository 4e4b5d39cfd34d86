"""A conversation held without a socket, by a client that reads when the test says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.live.conversation import Conversation
from app.live.frames import Subscribe
from app.live.shared import Shared
from app.live.standing import Standing
from app.live.subscription import Subscription


@dataclass
class Fired:
    """A row of an alert."""

    position: int
    subscription_id: str = "sub_1"


class Talk:
    """A conversation and the time it is held at."""

    def __init__(self, shared: Shared | None = None) -> None:
        self.now = 0.0
        self.woken = 0
        self.position = 0
        self.is_free = False
        self.sent: list[Any] = []
        self.conversation = Conversation(Shared() if shared is None else shared, self, self.now)

    def wake(self) -> None:
        self.woken += 1

    def send(self, text: str) -> bool:
        if self.is_free:
            self.sent.append(json.loads(text))
        return self.is_free

    def say(self, **frame: Any) -> Any:
        return self.conversation.receive(json.dumps(frame), self.now)

    def subscribe(self, name: str = "a", *shown: Standing, position: int = 0, **target: Any) -> Subscription:
        """Subscribe as the socket does: to customer ``ada`` unless the target says otherwise."""
        target = target or {"customer_id": "ada"}
        if set(target) == {"after"}:
            target["customer_id"] = "ada"
        frame = self.say(type="subscribe", id=name, **target)
        assert isinstance(frame, Subscribe)
        customer_id = None if frame.tenant else frame.customer_id or "ada"
        begun = self.conversation.begin(frame, customer_id, position)
        for one in shown:
            self.conversation.offer(one)
        self.conversation.opened(begun, position, position)
        return begun

    def take(self) -> Any:
        """The next frame, read, or the page of alerts that is asked for."""
        taken = self.conversation.take(self.now, self.position)
        return json.loads(taken) if isinstance(taken, str) else taken


def quantities(frame: dict[str, Any]) -> list[str]:
    return [one["meters"][0]["quantity"] for one in frame["subscriptions"]]

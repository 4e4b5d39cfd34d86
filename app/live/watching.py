"""The seam between the feed, which follows the log, and the sockets, which tell what it finds."""

from __future__ import annotations

from typing import Protocol

from app.live.standing import Standing


class Watcher(Protocol):
    """One socket's conversation, as the feed sees it. Its methods return at once: they wait for nobody, raise nothing
    and stop no watch, so that a peer that never reads costs the feed nothing.
    """

    def offer(self, standing: Standing) -> None:
        """The newest whole state of one customer. One that is not newer than what was offered says nothing new."""
        ...

    def alerts_until(self, position: int) -> None:
        """The alerts of what is watched were recorded up to ``position``: read them from their rows."""
        ...

    def resync(self) -> None:
        """The feed lost the database and is back: everything is offered anew. Nothing already shown may go back."""
        ...


class Feed(Protocol):
    """What follows the log in one process and keeps what its watchers stand at."""

    async def watch_customer(self, tenant_id: str, customer_id: str, watcher: Watcher) -> Standing:
        """The customer's current state; from now on every newer one is offered. A watch is counted once."""
        ...

    async def watch_tenant(self, tenant_id: str, watcher: Watcher) -> None:
        """Offers of every customer that changes from now on, and first of those that have open cycles."""
        ...

    def unwatch(self, watcher: Watcher) -> None:
        """Offer this watcher nothing any more."""
        ...

    def unwatch_customer(self, tenant_id: str, customer_id: str, watcher: Watcher) -> None:
        """End what `watch_customer` began; nothing happens when it is not watched."""
        ...

    def unwatch_tenant(self, tenant_id: str, watcher: Watcher) -> None:
        """End what `watch_tenant` began; nothing happens when it is not watched."""
        ...

    def position(self, tenant_id: str) -> int:
        """Every offer up to here has been made."""
        ...

    def alerts_until(self, tenant_id: str) -> int:
        """In what is seen of the log no alert is past this position. Most of the time nobody has to read any."""
        ...

    async def reach(self, tenant_id: str, position: int) -> None:
        """Wait until ``position(tenant_id)`` is there. Raises ``Invalid`` past the log's end, and ``NotProjected``."""
        ...

    async def customer_of(self, tenant_id: str, subscription_id: str) -> str:
        """The customer of a subscription. Raises ``NotFound``."""
        ...

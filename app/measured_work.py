"""Measuring, and on request tracing, the three kinds of work that matter: batches of usage, pages of the projection,
and commands, of which the closes are timed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

from app import measures, tracing
from app.ingesting import Recorded
from domain.aggregate import Fact
from domain.subscription import Subscription

Asked = ParamSpec("Asked")


def measured_batch(record: Callable[Asked, Awaitable[Recorded]]) -> Callable[Asked, Awaitable[Recorded]]:
    """Count what became of the events of a batch, and time it. Batches that are refused are counted where they are
    answered."""

    @wraps(record)
    async def measured(*args: Asked.args, **kwargs: Asked.kwargs) -> Recorded:
        began = time.perf_counter()
        with tracing.span("append"):
            recorded = await record(*args, **kwargs)
        receipt, problems = recorded
        measures.INGEST_SECONDS.observe(time.perf_counter() - began)
        measures.EVENTS_RECORDED.inc(receipt.ingested_count)
        if receipt.duplicate_count:
            measures.EVENTS_DUPLICATE.inc(receipt.duplicate_count)
        if receipt.conflicts:
            measures.EVENTS_CONFLICT.inc(len(receipt.conflicts))
        if problems:
            measures.EVENTS_REJECTED.inc(len({problem.index for problem in problems}))
        return recorded

    return measured


class Page:
    """What was folded, once that is known."""

    moved = False


@contextmanager
def measured_page() -> Iterator[Page]:
    """Around a page of the projection, which is timed when something was folded."""
    page, began = Page(), time.perf_counter()
    with tracing.span("projection page"):
        yield page
    if page.moved:
        measures.PAGE_SECONDS.observe(time.perf_counter() - began)


@contextmanager
def measured_command(command: str) -> Iterator[list[Fact]]:
    """Around a command's transaction, which leaves in the list what it has appended: closed cycles are counted and
    timed once they are durable."""
    appended: list[Fact] = []
    began = time.perf_counter()
    with tracing.span(command):
        yield appended
    closed = sum(isinstance(fact, Subscription.CycleClosed) for fact in appended)
    if closed:
        measures.CYCLES_CLOSED.inc(closed)
        measures.CLOSE_SECONDS.observe(time.perf_counter() - began)

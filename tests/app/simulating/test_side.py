"""The control experiment: what changes nothing reproduces every invoice, whatever happened before."""

from __future__ import annotations

from typing import Any

from asyncpg import Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.projecting import project_all
from domain import instant
from domain.invoice import DocumentType
from tests.app.business import History, a_history, terms
from tests.app.simulating.asking import cycles_of

STEPS = ("use", "use", "use", "pass", "pass", "credit", "debit", "pay_in", "replan", "pause")
steps = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 3), st.integers(0, 20)),
    min_size=6,
    max_size=18,
)


async def happen(history: History, what: str, which: int, amount: int) -> None:
    """As in any history, but usage happens as it is recorded, and whatever is due is closed on time."""
    if what == "use":
        await history.shop.use(*[history.clock.now] * (which + 1), metadata=f'{{"n": {amount - 3}}}')
    elif what == "pass":
        await history.let_pass(amount, on_time=True)
    else:
        await history.do(what, which, amount)
    await history.let_pass(1, on_time=True)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(terms, st.tuples(st.integers(0, 12), st.integers(0, 6)), st.sampled_from([None, 5, 20]), steps)
async def test_no_change_reproduces_every_invoice(
    pool: Pool[Record], terms: dict[str, Any], included: tuple[int, int], days: int | None, steps: list[Any]
) -> None:
    history = await a_history(pool, terms, included, days)
    for step in steps:
        await happen(history, *step)
    await history.let_pass(40, on_time=True)
    await project_all(history.shop.service)
    cycles = await cycles_of(history.shop)
    closed = {one.recorded.document.invoice_id: one for one in cycles if one.recorded}
    own = [one for one in history.documents if one.type is DocumentType.invoice]
    assert closed.keys() == {one.invoice_id for one in own}
    for document in own:
        again = closed[document.invoice_id].current
        for name in ("lines", "subtotal_amount", "wallet_amount", "tax_amount", "total_amount", "cycle_end"):
            assert getattr(again, name) == getattr(document, name), name
        assert closed[document.invoice_id].reproduced
        assert closed[document.invoice_id].proposed == again
    for one in cycles:
        if one.recorded is None:
            subscription_id, start = one.current.subscription_id, instant.parse(one.current.cycle_start)
            assert one.current == await history.shop.estimate(subscription_id, start)

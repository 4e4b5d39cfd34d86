"""``taximeter simulate``: a proposal of a file tried on the history of a tenant, told as a table or as JSON."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app import settings
from app.commands import database, open_service
from app.http.proposals import SimulationInput
from app.http.simulations import started, told
from app.keys import system_caller
from app.limits import SIMULATION_RESTS
from app.simulating.changes import Changes
from app.simulating.flags import Detail
from app.simulating.running import Advanced, Begun, Step
from domain.comparison import Amounts, SimulatedCustomer, Totals
from domain.errors import Invalid
from domain.money import major_text

SHOWN_MAX = 20
"""Customers in the table, those for whom most would change: a screen. All of them are in the JSON."""


def read_file(path: Path) -> tuple[SimulationInput, Mapping[str, Any]]:
    """The body in a file, and it again with its numbers as decimals. Raises ``Invalid``."""
    text = path.read_bytes()
    try:
        return (
            msgspec.json.decode(text, type=SimulationInput),
            msgspec.json.Decoder(float_hook=Decimal).decode(text),
        )
    except msgspec.MsgspecError as error:
        raise Invalid(str(path), str(error)) from None


async def run_simulation(flags: Namespace, environment: Mapping[str, str]) -> int:
    """Run the command; its exit status is 1 when an invoice is not reproduced by the prices that it has."""
    given, exact = read_file(flags.file)
    tenant_id = settings.value(settings.TENANT, flags, environment)
    async with (
        database(flags, environment, create=False) as dsn,
        open_service(dsn, settings.rules(flags, environment)) as service,
    ):
        rests = 0 if flags.full_speed else SIMULATION_RESTS
        steps = await started(service, system_caller(tenant_id), given, exact, rests)
        async with aclosing(steps):
            totals = await (_print_json(steps, Detail(flags.detail)) if flags.json else _print_table(steps))
    return 1 if totals.reproduced < totals.invoices else 0


async def _print_json(steps: AsyncGenerator[Step], detail: Detail) -> Totals:
    totals = Totals()
    async for step in steps:
        print(msgspec.json.encode(told(step, detail)).decode(), flush=True)
        totals = step if isinstance(step, Totals) else totals
    return totals


async def _print_table(steps: AsyncGenerator[Step]) -> Totals:
    totals, changes = Totals(), Changes(SHOWN_MAX)
    with Progress(console=Console(file=sys.stderr)) as progress:
        task = progress.add_task("customers")
        async for step in steps:
            match step:
                case Begun():
                    progress.update(task, total=step.customers)
                case SimulatedCustomer():
                    changes.add(step)
                case Advanced():
                    progress.update(task, completed=step.customers)
                case Totals():
                    totals = step
    console = Console()
    console.print(_table(changes, totals))
    if totals.reproduced < totals.invoices:
        console.print(
            f"{totals.invoices - totals.reproduced} of {totals.invoices} invoices are not what these prices give now:"
            " usage came late and is not settled yet, or credits were drawn in another order"
        )
    return totals


def _table(changes: Changes, totals: Totals) -> Table:
    table = Table("customer", "currency")
    for name in ("now", "proposed", "difference"):
        table.add_column(name, justify="right")
    for customer_id, amounts in changes.largest():
        table.add_row(customer_id, *_amounts(amounts))
    for _, one in sorted(totals.by_currency.items()):
        table.add_section()
        said = f"{one.more} pay more, {one.less} less, {one.same} the same"
        table.add_row(said, *_amounts(one.amounts))
    return table


def _amounts(amounts: Amounts) -> tuple[str, str, str, str]:
    currency = amounts.currency
    return (
        currency,
        major_text(amounts.current, currency),
        major_text(amounts.proposed, currency),
        major_text(amounts.difference, currency),
    )

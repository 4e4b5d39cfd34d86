"""``taximeter example flights``: bill every flight that left New York in 2013, through the HTTP API only.

Each carrier is a customer, each of the 336,776 rows one event, each month a cycle with an invoice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.example.errors import ExampleError
from app.example.source import INSTALL, find_data
from app.example.tariff import CURRENCY, YEAR

if TYPE_CHECKING:
    from app.example.year import Outcome, Sent
    from app.example.year import Progress as Tell

CENTS = Decimal(100)


def run(base_url: str, api_key: str, console: Console | None = None) -> int:
    """Bill the year and print a summary; the exit status: 0, or 1 when it could not be done, with the reason printed.

    The key needs the scope ``write``. A run that was broken off, or is repeated, goes on where the other stopped.
    """
    console = Console() if console is None else console
    try:
        outcome = _bill(base_url, api_key, console)
    except ExampleError as error:
        console.print(f"Cannot bill the flights: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    console.print(table_of(outcome))
    console.print(sentence_of(outcome.sent), highlight=False, soft_wrap=True)
    return 0


def _bill(base_url: str, api_key: str, console: Console) -> Outcome:
    data = find_data()
    try:
        # Imported here because the HTTP client is optional: without it, the message below is the answer.
        from app.example.client import Client
        from app.example.year import bill_year
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise ExampleError(f"the HTTP client httpx is not installed; install it with: {INSTALL}") from error
    with Client(base_url, api_key) as client, _progress(console) as tell:
        return bill_year(client, data, tell)


@contextmanager
def _progress(console: Console) -> Iterator[Tell]:
    """A progress bar for every kind of work that is told of."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(work: str, done: int, total: int) -> None:
            if work not in tasks:
                tasks[work] = bars.add_task(work, total=total)
            bars.update(tasks[work], completed=done)

        yield tell


def table_of(outcome: Outcome) -> Table:
    """Every carrier's year, and all of them together."""
    bills = outcome.bills
    table = Table(title=f"Flights from New York, {YEAR}", show_footer=True)
    table.add_column("Carrier", footer="All carriers")
    for heading, footer in (
        ("Flights", _grouped(sum((bill.flights for bill in bills), Decimal(0)))),
        ("Miles", _grouped(sum((bill.miles for bill in bills), Decimal(0)))),
        ("Invoices", str(sum(len(bill.invoices) for bill in bills))),
        (f"Total {CURRENCY}", _major(sum(bill.total_amount for bill in bills))),
    ):
        table.add_column(heading, footer=footer, justify="right")
    for bill in bills:
        table.add_row(
            f"{bill.carrier} {bill.name}",
            _grouped(bill.flights),
            _grouped(bill.miles),
            str(len(bill.invoices)),
            _major(bill.total_amount),
        )
    return table


def sentence_of(sent: Sent) -> str:
    """What became of the events, and how fast they went."""
    count = sent.ingested + sent.duplicates
    rate = round(count / sent.seconds) if sent.seconds > 0 else count
    return (
        f"{count:,} events sent in {sent.seconds:.1f} s ({rate:,} events/s):"
        f" {sent.ingested:,} recorded, {sent.duplicates:,} known already."
    )


def _grouped(number: Decimal) -> str:
    return f"{number:,f}"


def _major(cents: int) -> str:
    return f"{Decimal(cents) / CENTS:,.2f}"

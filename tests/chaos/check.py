"""The checker: invariants I1 to I10 from outside, straight from the rows, with no code of the service.

    python -m tests.chaos.check DSN [--acknowledged FILE] [--replay]

It can be run against any database, also beside a running service: everything is read in one snapshot. With the file of
what clients were told it also looks for what is missing. ``--replay`` lets the service build all read models anew and
compares every row (I10); that swaps them. The exit status is 1 when anything is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from tests.chaos.books import Books, read_books, tenants_of
from tests.chaos.check_credits import check_burns, check_firings, check_grants, check_wallets
from tests.chaos.check_invoices import check_kept, check_numbers, check_settled, check_sums, check_usage
from tests.chaos.check_log import check_chain, check_foreign, check_told, check_whole
from tests.chaos.check_quantities import check_projected, check_quantities
from tests.chaos.evidence import Evidence, read_evidence

ROOT = Path(__file__).resolve().parents[2]

OF_BOOKS: tuple[tuple[str, Callable[[Books], Iterable[str]]], ...] = (
    ("I1", check_whole),
    ("I8", check_chain),
    ("I8", check_projected),
    ("I3", check_quantities),
    ("I3", check_usage),
    ("I4", check_grants),
    ("I4", check_burns),
    ("I4", check_wallets),
    ("I5", check_sums),
    ("I6", check_numbers),
    ("I6", check_settled),
    ("I6", check_firings),
    ("I9", check_foreign),
)
"""What is asked of the books of each tenant."""

OF_EVIDENCE: tuple[tuple[str, Callable[[Books, Evidence], Iterable[str]]], ...] = (
    ("I1 I2", check_told),
    ("I7", check_kept),
)
"""What is asked of books and of what clients were told."""

REPLAYED = "every row was as before"
"""What the service says of a rebuild that found nothing to mend."""


@dataclass
class Verdict:
    """What was found, and how much was looked at."""

    broken: list[str] = field(default_factory=list[str])
    tenants: int = 0
    commits: int = 0
    events: int = 0
    acknowledged: int = 0
    invoices: int = 0
    lines: int = 0
    quantities: int = 0

    def text(self) -> str:
        """For people, and for whoever greps."""
        looked = (
            f"{self.tenants} tenants, {self.commits:,} commits, {self.events:,} usage events"
            f" ({self.acknowledged:,} acknowledged), {self.quantities:,} summaries, {self.invoices:,} invoices"
            f" with {self.lines:,} lines"
        )
        return "\n".join([*self.broken, f"looked at {looked}: {len(self.broken)} broken invariants"])


async def check(dsn: str, told: dict[str, Evidence]) -> Verdict:
    """Look at the whole database in one snapshot."""
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC", "application_name": "checker"})
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            every = [await read_books(connection, tenant_id) for tenant_id in await tenants_of(connection)]
    finally:
        await connection.close()
    return judge(every, told)


def judge(every: list[Books], told: dict[str, Evidence]) -> Verdict:
    """What is broken in these books, or in them against what clients were told."""
    verdict = Verdict()
    for books in every:
        evidence = told.get(books.tenant_id, Evidence())
        found = [(name, said) for name, ask in OF_BOOKS for said in ask(books)]
        found += [(name, said) for name, ask in OF_EVIDENCE for said in ask(books, evidence)]
        verdict.broken += [f"{name} {books.tenant_id}: {said}" for name, said in found]
        verdict.tenants += 1
        verdict.commits += len(books.commits)
        verdict.events += len(books.usage)
        verdict.acknowledged += len(evidence.recorded)
        verdict.quantities += len(books.quantities)
        verdict.invoices += len(books.invoices)
        verdict.lines += sum(len(document["lines"]) for document in books.documents().values())
    missing = [tenant_id for tenant_id in told if tenant_id not in {books.tenant_id for books in every}]
    verdict.broken += [f"I1 {tenant_id}: nothing of it is stored" for tenant_id in missing if told[tenant_id].recorded]
    return verdict


def replay(dsn: str) -> list[str]:
    """I10: what the log gives when it is replayed is what stood there; with the service's own command."""
    ended = subprocess.run(
        [sys.executable, "-m", "app", "rebuild", "--database-url", dsn],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode or REPLAYED not in ended.stdout:
        return [f"I10 the replay differs: {line}" for line in (ended.stdout + ended.stderr).splitlines()[-20:]]
    return []


def main() -> int:
    """Check one database; the exit status."""
    parser = argparse.ArgumentParser(description="Check the invariants I1 to I10 of a database of Taximeter.")
    parser.add_argument("dsn")
    parser.add_argument("--acknowledged", type=Path, help="what clients were told, as a run of the tests writes it")
    parser.add_argument("--replay", action="store_true", help="build the read models anew and compare every row")
    flags = parser.parse_args()
    verdict = asyncio.run(check(flags.dsn, read_evidence(flags.acknowledged) if flags.acknowledged else {}))
    if flags.replay:
        verdict.broken += replay(flags.dsn)
    print(verdict.text())
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())

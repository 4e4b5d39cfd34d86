"""How a simulation is asked for at a terminal: the flags, known before anything of a simulation is imported."""

from __future__ import annotations

from argparse import ArgumentParser
from enum import StrEnum
from pathlib import Path


class Detail(StrEnum):
    """How much is told of each customer: sums, each cycle, or each cycle with both invoices."""

    amounts = "amounts"
    cycles = "cycles"
    invoices = "invoices"


def add_simulate_flags(parser: ArgumentParser) -> None:
    """The flags of the command beside those of the database."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the body of POST /simulations as JSON")
    parser.add_argument("--json", action="store_true", help="print what POST /simulations answers, a line each")
    parser.add_argument(
        "--detail", default="cycles", choices=[one.value for one in Detail], help="how much of each customer as JSON"
    )
    parser.add_argument("--full-speed", action="store_true", help="do not rest for a service that runs beside")

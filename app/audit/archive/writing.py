"""Writing the files of an export: rows as they come, a bounded number of them in memory."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from app.audit.archive.manifest import ArchiveError, Encoding, FileNote, digest_of
from app.audit.archive.tables import Table
from domain import instant

FILE_ROWS_MAX = 1_000_000
"""Rows of one file: a hundred megabytes or two, so that a changed byte is found without reading everything, and a file
can be sent by itself."""

GROUP_ROWS = 20_000
"""Rows that are packed together, and held in memory until then."""

GROUP_BYTES = 32 * 1_024 * 1_024
"""Text that is packed together: metadata may have tens of kilobytes an event."""

Values = Sequence[Sequence[Any]]
"""Rows as columns: a sequence of values for each column, all of one length."""


class RowFile(Protocol):
    """One open file of rows."""

    def write(self, columns: Values) -> None:
        """Append rows."""
        ...

    def close(self) -> None:
        """Finish it."""
        ...


class TableWriter:
    """Writes the rows of one table of one tenant into as many files as it takes.

    Where a group or a file ends depends only on the rows and on how they are given: the same log, given commit by
    commit, becomes the same bytes.
    """

    def __init__(self, directory: Path, tenant_id: str, table: Table, encoding: Encoding) -> None:
        self.rows = 0
        self._directory, self._tenant_id, self._table = directory, tenant_id, table
        self._encoding: Encoding = encoding
        self._notes: list[FileNote] = []
        self._waiting: list[list[Any]] = [[] for _ in table.columns]
        self._waiting_bytes = 0
        self._file: RowFile | None = None
        self._file_rows = 0

    def add(self, columns: Values) -> None:
        """Append rows. Raises ``OSError``."""
        for waiting, column in zip(self._waiting, columns, strict=True):
            waiting.extend(column)
        self.rows += len(columns[0])
        self._waiting_bytes += sum(len(value) for value in columns[-1] if isinstance(value, str | bytes))
        if len(self._waiting[0]) >= GROUP_ROWS or self._waiting_bytes >= GROUP_BYTES:
            self._flush()

    def add_rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Append rows that are given one by one."""
        if rows:
            self.add(list(zip(*rows, strict=True)))

    def finish(self) -> list[FileNote]:
        """Close the last file; what was written. A table without rows has one file that says so."""
        if self._waiting[0] or (not self._notes and self._file is None):
            self._flush()
        self._close_file()
        return self._notes

    def _flush(self) -> None:
        if self._file is None:
            self._file = open_row_file(self._directory / self._path(), self._table, self._encoding)
        self._file.write(self._waiting)
        self._file_rows += len(self._waiting[0])
        self._waiting = [[] for _ in self._table.columns]
        self._waiting_bytes = 0
        if self._file_rows >= FILE_ROWS_MAX:
            self._close_file()

    def _path(self) -> str:
        return f"{self._tenant_id}/{self._table.name}-{len(self._notes) + 1:06d}.{self._encoding}"

    def _close_file(self) -> None:
        if self._file is None:
            return
        self._file.close()
        path = self._directory / self._path()
        _flush_to_disk(path)
        self._notes.append(
            FileNote(
                path=self._path(),
                tenant_id=self._tenant_id,
                table=self._table.name,
                rows=self._file_rows,
                size=path.stat().st_size,
                sha256=digest_of(path),
                columns=self._table.columns,
            )
        )
        self._file, self._file_rows = None, 0


def open_row_file(path: Path, table: Table, encoding: Encoding) -> RowFile:
    """A new file for rows of the table. Raises as ``parquet`` does."""
    path.parent.mkdir(exist_ok=True)
    if encoding == "csv":
        return _CsvFile(path, table)
    return parquet().ParquetFile(path, table)


def parquet() -> ModuleType:
    """What writes and reads Parquet. Raises ``ArchiveError`` when its library is not installed: it is an extra."""
    try:
        return import_module("app.audit.archive.parquet")
    except ImportError as error:
        raise ArchiveError(
            f"archives are Parquet, which needs pyarrow ({error}): pip install 'taximeter[archive]'; an export can be"
            " written as CSV without it"
        ) from None


class _CsvFile:
    """RFC 4180, UTF-8: instants as RFC 3339, bytes in hexadecimal, a missing value as nothing."""

    def __init__(self, path: Path, table: Table) -> None:
        self._file = path.open("x", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(table.names())

    def write(self, columns: Values) -> None:
        """Append rows."""
        self._writer.writerows(map(_cell, row) for row in zip(*columns, strict=True))

    def close(self) -> None:
        """Finish it."""
        self._file.close()


def _cell(value: object) -> object:
    match value:
        case datetime():
            return instant.text(value)
        case bytes():
            return value.hex()
        case bool():
            return "true" if value else "false"
        case _:
            return value


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

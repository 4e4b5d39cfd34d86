"""The files that are begun first are there: one that was renamed would be begun last again, and nobody would notice."""

from __future__ import annotations

from tests.conftest import LONGEST, TESTS


def test_the_longest_files_are_files() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []

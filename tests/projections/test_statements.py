"""Named SQL: what a file may look like."""

from __future__ import annotations

import pytest

from projections.statements import load, parse


def test_statements_are_found_by_name() -> None:
    text = "-- About.\n\n-- name: one\nselect 1;\n\n-- name: two\n-- why\nselect 2;\n"
    assert parse(text, "x.sql") == {"one": "select 1", "two": "-- why\nselect 2"}


def test_a_name_stands_once() -> None:
    with pytest.raises(ValueError, match=r"x\.sql: the name one stands twice"):
        parse("-- name: one\nselect 1;\n-- name: one\nselect 2;\n", "x.sql")


def test_nothing_stands_before_the_first_name() -> None:
    with pytest.raises(ValueError, match="before the first name"):
        parse("select 0;\n-- name: one\nselect 1;\n", "x.sql")


def test_the_files_of_the_package_are_read() -> None:
    assert "commits_after" in load("projections.sql", "log.sql")

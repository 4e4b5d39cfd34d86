"""What an operator copies from the pages works: the commands exist, and the messages are said."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from app.__main__ import parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("operating-*.md"))}
COMMANDS = [
    (name, line.strip())
    for name, text in PAGES.items()
    for line in text.splitlines()
    if re.match(r"(taximeter|    NEW/bin/taximeter) ", line)
]
MESSAGES = [
    (name, message)
    for name, text in PAGES.items()
    for message in re.findall(r"^\| `([^`]+)` \| ", text, re.MULTILINE)
    if " " in message
]


@cache
def said_by_the_program() -> str:
    """Every text of the program, those of a formatted one with … for what is filled in."""
    texts: list[str] = []
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                texts.append("".join(str(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"\{\w+\}", "…", node.value))
    return "\n".join(texts)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda one: one)
def test_a_command_is_one(page: str, line: str) -> None:
    parser().parse_args(shlex.split(line.partition("#")[0])[1:])


def test_there_are_commands_and_messages() -> None:
    assert len(COMMANDS) >= 12
    assert len(MESSAGES) >= 8


@pytest.mark.parametrize(("page", "message"), MESSAGES, ids=lambda one: one)
def test_a_message_is_said(page: str, message: str) -> None:
    assert message.rstrip(")").rstrip("…").rstrip() in said_by_the_program()

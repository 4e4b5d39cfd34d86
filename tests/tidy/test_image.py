"""The image is made of what the package is made of: nothing of it is kept from the builder."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copied() -> set[str]:
    """What the Dockerfile copies from the checkout."""
    lines = [line.split()[1:] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    return {source for words in lines if not words[0].startswith("--from=") for source in words[:-1]}


def test_what_the_image_copies_reaches_the_builder() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in rules, "everything is kept back but what is named"
    assert copied() == {rule[1:] for rule in rules if rule.startswith("!")}
    assert all((ROOT / source).exists() for source in copied())


def test_the_image_has_all_that_the_package_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    setuptools = project["tool"]["setuptools"]
    packages = {pattern.removesuffix("*").removesuffix(".") for pattern in setuptools["packages"]["find"]["include"]}
    modules = {f"{module}.py" for module in setuptools["py-modules"]}
    files = {project["project"]["readme"], *project["project"]["license-files"]}
    assert copied() == {"pyproject.toml", *packages, *modules, *files}

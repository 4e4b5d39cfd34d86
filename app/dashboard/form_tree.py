"""Forms with parts that repeat: names such as ``price.meters[0].tiers[1].up_to`` as a tree, and the way back.

The names are the paths that errors of the domain name, so an error finds its field by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, cast

import msgspec

from app.dashboard.forms import Form
from domain.errors import Invalid

PARTS_MAX = 100
"""Parts that stand in one list of a form: more than any list of the domain may hold."""

DEPTH_MAX = 16
"""Steps of one name: a filter nested as deep as the domain allows has some ten."""

Tree: TypeAlias = dict[str, Any]
"""Fields by their names: texts, trees, and lists of trees."""

Read = TypeVar("Read")

_NAME = re.compile(r"[a-z_]+(?:\[\d{1,3}\])?(?:\.[a-z_]+(?:\[\d{1,3}\])?)*")
_STEP = re.compile(r"[a-z_]+|\d+")


def tree_of(form: Form) -> Tree:
    """The fields of a form as a tree, parts of a list in the order of their numbers. Raises ``Invalid``."""
    root: dict[str | int, Any] = {}
    for name in form.entered:
        if not _NAME.fullmatch(name):
            continue
        steps = _steps(name)
        if len(steps) > DEPTH_MAX:
            raise Invalid(name[:50], "nests too deep to be read")
        _put(root, steps, form.text(name))
    return cast("Tree", _with_lists(root))


def form_of(tree: Tree) -> Form:
    """A form in which the tree was entered, its parts numbered from 0."""
    return Form({name: [text] for name, text in _flat(tree, "")})


def subtree(tree: Tree, name: str) -> Tree:
    """The tree under a name; an empty one where there is none."""
    found = tree.get(name)
    return cast("Tree", found) if isinstance(found, dict) else {}


def parts(tree: Tree, name: str) -> list[Tree]:
    """The parts of the list under a name; none where there is no list."""
    found = tree.get(name)
    return cast("list[Tree]", found) if isinstance(found, list) else []


def text(tree: Tree, name: str) -> str:
    """The text under a name; an empty one where there is none."""
    found = tree.get(name)
    return found if isinstance(found, str) else ""


def add_part(tree: Tree, path: str, part: Tree) -> None:
    """Put a part at the end of the list at ``path``. Raises ``Invalid`` when the list is full or has no place."""
    *way, last = _steps(path)
    parent = _at(tree, way, path)
    if not isinstance(parent, dict):
        raise Invalid(path, "names no list of this form")
    listed = cast("Tree", parent).setdefault(str(last), [])
    if not isinstance(listed, list) or len(cast("list[Tree]", listed)) >= PARTS_MAX:
        raise Invalid(path, f"takes at most {PARTS_MAX} parts")
    cast("list[Tree]", listed).append(part)


def remove_part(tree: Tree, path: str) -> None:
    """Take the part at ``path`` out of its list; nothing happens when there is none. Raises ``Invalid``."""
    *way, last = _steps(path)
    listed = _at(tree, way, path)
    if isinstance(listed, list) and isinstance(last, int) and last < len(cast("list[Tree]", listed)):
        del listed[last]


_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_TYPES = {"`str`": "text", "`int`": "a whole number", "`bool`": "yes or no", "`object`": "an object"}


def read_as(body: object, kind: type[Read]) -> Read:
    """The body of a command, read as a request's would be. Raises ``Invalid`` naming the field and the rule."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        message = str(error)
        place = _PLACE.search(message)
        rule = _PLACE.sub("", message).replace("Expected ", "must be ")
        for spelt, plain in _TYPES.items():
            rule = rule.replace(spelt, plain)
        raise Invalid(place.group(1) if place else "", rule) from None


def _steps(path: str) -> list[str | int]:
    return [int(step) if step.isdigit() else step for step in _STEP.findall(path)]


def _put(root: dict[str | int, Any], steps: list[str | int], text: str) -> None:
    if isinstance(steps[-1], int):
        return
    node = root
    for step in steps[:-1]:
        below = node.setdefault(step, {})
        if not isinstance(below, dict):
            return
        node = cast("dict[str | int, Any]", below)
    node.setdefault(steps[-1], text)


def _with_lists(node: dict[str | int, Any]) -> Tree | list[Any]:
    """The node with a list in place of each map of numbers."""
    children: dict[str | int, Any] = {
        step: _with_lists(cast("dict[str | int, Any]", child)) if isinstance(child, dict) else child
        for step, child in node.items()
    }
    numbers = sorted(step for step in children if isinstance(step, int))
    if numbers:
        return [children[step] for step in numbers]
    return cast("Tree", children)


def _flat(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flat(cast("Tree", value), f"{path}.")
        elif isinstance(value, list):
            for index, part in enumerate(cast("list[Tree]", value)):
                yield from _flat(part, f"{path}[{index}].")
        elif isinstance(value, str):
            yield path, value


def _at(tree: Tree, way: list[str | int], path: str) -> Any:
    node: Any = tree
    for step in way:
        try:
            node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
        except (IndexError, TypeError, KeyError):
            raise Invalid(path[:50], "names no place of this form") from None
    return node

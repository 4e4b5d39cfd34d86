"""Forms with parts that repeat: to a tree and back."""

from __future__ import annotations

import msgspec
import pytest

from app.dashboard.form_tree import PARTS_MAX, Tree, add_part, form_of, read_as, remove_part, tree_of
from app.dashboard.forms import Form
from domain.errors import Invalid


def test_a_form_becomes_a_tree_and_a_form_again() -> None:
    entered = {"name": ["API"], "price.meters[0].tiers[1].up_to": ["10"], "price.meters[0].tiers[0].up_to": ["5"]}
    tree = tree_of(Form(entered))
    assert tree == {"name": "API", "price": {"meters": [{"tiers": [{"up_to": "5"}, {"up_to": "10"}]}]}}
    assert form_of(tree).entered == entered


def test_holes_in_the_numbers_close() -> None:
    tree = tree_of(Form({"a[7].b": ["second"], "a[2].b": ["first"]}))
    assert form_of(tree).entered == {"a[0].b": ["first"], "a[1].b": ["second"]}


@pytest.mark.parametrize("name", ["a[0]", "a[0][1].b", "a[x].b", ".a", "a..b", "A", "a[1000].b", ""])
def test_other_names_are_left_out(name: str) -> None:
    assert tree_of(Form({name: ["x"]})) in ({}, {"a": {}})


def test_a_name_is_a_text_or_has_parts_never_both() -> None:
    assert tree_of(Form({"a": ["x"], "a.b": ["y"]})) == {"a": "x"}
    assert tree_of(Form({"a.b": ["y"], "a": ["x"]})) == {"a": {"b": "y"}}


def test_a_name_nests_only_so_deep() -> None:
    with pytest.raises(Invalid, match="too deep"):
        tree_of(Form({"a" + ".b" * 20: ["x"]}))


def test_parts_are_added_and_removed() -> None:
    tree: Tree = {"price": {}}
    for text in ("1", "2", "3"):
        add_part(tree, "price.meters", {"units": text})
    remove_part(tree, "price.meters[1]")
    remove_part(tree, "price.meters[9]")
    add_part(tree, "price.meters[1].tiers", {"up_to": ""})
    assert tree == {"price": {"meters": [{"units": "1"}, {"units": "3", "tiers": [{"up_to": ""}]}]}}


@pytest.mark.parametrize("path", ["name.parts", "meters[5].tiers", "name"])
def test_a_part_needs_a_place(path: str) -> None:
    with pytest.raises(Invalid):
        add_part({"name": "x", "meters": []}, path, {})


def test_a_list_takes_only_so_many_parts() -> None:
    with pytest.raises(Invalid, match=f"at most {PARTS_MAX}"):
        add_part({"a": [{}] * PARTS_MAX}, "a", {})


class Counted(msgspec.Struct):
    count: int


def test_what_cannot_be_read_names_its_field() -> None:
    with pytest.raises(Invalid) as refused:
        read_as({"count": "x"}, Counted)
    assert refused.value.message == "count: must be a whole number, got text"
    assert read_as({"count": 3}, Counted) == Counted(3)

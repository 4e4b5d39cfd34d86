"""Multiproofs: whatever is shown of a tree, with the nodes between it makes the tree's root, and in no other way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.chain import leaf, merkle_root
from domain.multiproof import Walk
from domain.tree import path
from taximeter_verify import Shown, Unproved

LEAVES_MAX = 70


@st.composite
def shown_leaves(draw: st.DrawFn) -> tuple[list[bytes], list[int]]:
    count = draw(st.integers(1, LEAVES_MAX))
    hashed = [leaf(bytes([number])) for number in range(count)]
    return hashed, sorted(draw(st.sets(st.integers(0, count - 1))))


def nodes_of(hashed: list[bytes], shown: list[int]) -> list[bytes]:
    walk, nodes = Walk(), list[bytes]()
    for place, one in enumerate(hashed):
        assert walk.place == place
        if place in shown:
            nodes += walk.show()
        else:
            walk.pass_by(one)
    return nodes + walk.end()


def root_of(hashed: list[bytes], shown: list[int], nodes: list[bytes], size: int) -> bytes:
    """The root as the program computes it that customers use, which shares no code with the service."""
    return Shown(((place, hashed[place]) for place in shown), (node.hex() for node in nodes)).whole(size)


@given(shown_leaves())
def test_what_is_shown_makes_the_root(case: tuple[list[bytes], list[int]]) -> None:
    hashed, shown = case
    assert root_of(hashed, shown, nodes_of(hashed, shown), len(hashed)) == merkle_root(hashed)


@given(shown_leaves(), st.data())
def test_a_node_more_or_less_or_changed_makes_no_root(case: tuple[list[bytes], list[int]], data: st.DataObject) -> None:
    hashed, shown = case
    nodes = nodes_of(hashed, shown)
    with pytest.raises(Unproved):
        root_of(hashed, shown, [*nodes, hashed[0]], len(hashed))
    if nodes:
        place = data.draw(st.integers(0, len(nodes) - 1))
        with pytest.raises(Unproved):
            root_of(hashed, shown, nodes[:place] + nodes[place + 1 :], len(hashed))
        changed = [*nodes[:place], leaf(nodes[place]), *nodes[place + 1 :]]
        assert root_of(hashed, shown, changed, len(hashed)) != merkle_root(hashed)


@given(shown_leaves())
def test_another_leaf_in_a_shown_one_s_place_makes_another_root(case: tuple[list[bytes], list[int]]) -> None:
    hashed, shown = case
    for place in shown:
        other = [*hashed[:place], leaf(b"other"), *hashed[place + 1 :]]
        assert root_of(other, shown, nodes_of(hashed, shown), len(hashed)) != merkle_root(hashed)


@given(st.integers(1, LEAVES_MAX), st.data())
def test_of_one_leaf_it_is_as_long_as_its_path(count: int, data: st.DataObject) -> None:
    hashed = [leaf(bytes([number])) for number in range(count)]
    place = data.draw(st.integers(0, count - 1))
    assert sorted(nodes_of(hashed, [place])) == sorted(path(hashed, place))

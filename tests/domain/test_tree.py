"""Trees: grown or given whole they have one root, and a path proves its leaf and no other."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.chain import leaf, merkle_root
from domain.tree import Frontier, path, root_by_path

LEAVES_MAX = 70
leaves = st.integers(1, LEAVES_MAX).map(lambda count: [leaf(bytes([number])) for number in range(count)])


@given(leaves)
def test_a_tree_that_grew_has_the_root_of_its_leaves(hashed: list[bytes]) -> None:
    frontier = Frontier()
    for count, one in enumerate(hashed, 1):
        frontier.append(one)
        assert frontier.size == count
        assert frontier.root() == merkle_root(hashed[:count])


def test_a_tree_without_leaves_has_no_root() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        Frontier().root()


@given(leaves, st.data())
def test_a_path_proves_its_leaf(hashed: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(hashed) - 1))
    assert root_by_path(hashed[index], index, len(hashed), path(hashed, index)) == merkle_root(hashed)


@given(leaves, st.data())
def test_a_path_proves_no_other_leaf_and_no_other_place(hashed: list[bytes], data: st.DataObject) -> None:
    index, other = (data.draw(st.integers(0, len(hashed) - 1)) for _ in range(2))
    assume(index != other)
    nodes = path(hashed, index)
    assert root_by_path(hashed[other], index, len(hashed), nodes) != merkle_root(hashed)
    assert _root(hashed[index], other, len(hashed), nodes) != merkle_root(hashed)


@given(leaves, st.data())
def test_a_path_with_a_changed_a_missing_or_another_node_proves_nothing(
    hashed: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(hashed) - 1))
    nodes = path(hashed, index)
    assert _root(hashed[index], index, len(hashed), [*nodes, leaf(b"more")]) is None
    if nodes:
        assert _root(hashed[index], index, len(hashed), nodes[:-1]) is None
        place = data.draw(st.integers(0, len(nodes) - 1))
        changed = [*nodes[:place], leaf(b"changed"), *nodes[place + 1 :]]
        assert _root(hashed[index], index, len(hashed), changed) != merkle_root(hashed)


def _root(hashed: bytes, index: int, size: int, nodes: list[bytes]) -> bytes | None:
    try:
        return root_by_path(hashed, index, size, nodes)
    except ValueError:
        return None


@pytest.mark.parametrize("index", [-1, 3])
def test_a_leaf_that_is_not_there_has_no_path(index: int) -> None:
    with pytest.raises(IndexError, match=f"no leaf {index}"):
        path([leaf(b"a"), leaf(b"b"), leaf(b"c")], index)
    with pytest.raises(ValueError, match=f"no leaf {index}"):
        root_by_path(leaf(b"a"), index, 3, [])

"""The Merkle tree: RFC 6962 as it is written there, its known roots, and what is kept of a tree."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.merkle import EMPTY, Frontier, InvalidFrontier, leaf_hash, node_hash, root

LEAVES = st.lists(st.binary(max_size=40), max_size=70)

# The leaves with which Certificate Transparency tests its trees, and the root over the first n of them.
KNOWN_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = max(1 << power for power in range(len(leaves).bit_length()) if 1 << power < len(leaves))
    return hashlib.sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_certificate_transparency(size: int) -> None:
    """As every log of certificates computes them."""
    assert root(KNOWN_LEAVES[:size]).hex() == KNOWN_ROOTS[size]


@given(LEAVES)
def test_a_root_is_what_the_definition_says(leaves: list[bytes]) -> None:
    """Of any leaves."""
    assert root(leaves) == by_definition(leaves)


@given(LEAVES)
def test_a_frontier_has_the_root_after_every_leaf(leaves: list[bytes]) -> None:
    """Also when it is written down and read again between any two of them."""
    frontier = Frontier()
    for number, data in enumerate(leaves):
        assert (frontier.size, frontier.root) == (number, by_definition(leaves[:number]))
        frontier = Frontier.parse(frontier.text)
        frontier.append(data)

    assert (frontier.size, frontier.root) == (len(leaves), by_definition(leaves))


def test_a_frontier_is_small() -> None:
    """A hash for each bit that is set in the size."""
    frontier = Frontier()
    for number in range(1023):
        frontier.append(str(number).encode())

    assert len(frontier.text) < 5 + 10 * 32 * 4 / 3 + 5


@given(LEAVES, st.integers(0, 69), st.binary(max_size=40))
def test_another_leaf_is_another_root(leaves: list[bytes], place: int, data: bytes) -> None:
    """Wherever it stands."""
    if place < len(leaves) and leaves[place] != data:
        assert root([*leaves[:place], data, *leaves[place + 1 :]]) != root(leaves)


def test_a_leaf_is_not_taken_for_a_node() -> None:
    """A leaf whose data are two hashes has another hash than the node over them."""
    one, other = leaf_hash(b"1"), leaf_hash(b"2")

    assert root([one + other]) != node_hash(one, other) == root([b"1", b"2"])
    assert root([]) == EMPTY != root([b""])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1 ",
        "01 ",
        "1 ",
        "1  ",
        "x AAAA",
        "1 A",
        "1 AAAA",
        "3 " + "A" * 44,
        "0 " + "A" * 43 + "=",
        "1 " + "A" * 42 + "B=",
        "1 " + "A" * 43 + "=\n",
        "\u0661 " + "A" * 43 + "=",
        "99999999999999999999 ",
    ],
)
def test_what_is_no_frontier_is_refused(text: str) -> None:
    """So that a damaged one is never signed: a number, and as many hashes as it has bits."""
    with pytest.raises(InvalidFrontier, match="this is not the state of a Merkle tree"):
        Frontier.parse(text)

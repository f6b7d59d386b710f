"""Turns on shared clusters: one at a time, in the order of asking, and nobody is forgotten."""

from __future__ import annotations

import random
import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.engine.turns import Turns

NAMES = ("a", "b", "c", "d")
SHARED = {name: tuple(other for other in NAMES if other != name) for name in NAMES}


def test_alone_it_is_always_ones_turn() -> None:
    """An environment with a cluster of its own, or not known at all, never waits and wakes nobody."""
    woken: list[str] = []
    turns = Turns({"alone": ()}, woken.append)
    assert turns.take("alone")
    assert turns.take("alone")
    assert turns.take("unknown")
    turns.give("alone")
    assert woken == []


def test_clusters_have_turns_of_their_own() -> None:
    """Two groups do not wait for each other."""
    turns = Turns({"a": ("b",), "b": ("a",), "c": ("d",), "d": ("c",)}, lambda _: None)
    assert turns.take("a")
    assert turns.take("c")
    assert not turns.take("b")
    assert not turns.take("d")


@given(st.lists(st.sampled_from(NAMES), max_size=60))
def test_it_goes_round_in_the_order_of_asking(asks: list[str]) -> None:
    """Against a plain list: whoever asks while another has the turn is woken once, in that order."""
    woken: list[str] = []
    turns = Turns(SHARED, woken.append)
    holder, waiting, expected = None, deque[str](), list[str]()
    running = False
    for name in asks:
        if running and name == holder:
            turns.give(name)
            running = False
            holder = waiting.popleft() if waiting else None
            expected += [holder] if holder else []
            continue
        is_mine = holder in (None, name)
        assert turns.take(name) is is_mine
        if is_mine:
            holder, running = name, True
        elif name not in waiting:
            waiting.append(name)
        assert woken == expected


@pytest.mark.parametrize("seed", range(3))
def test_threads_never_meet_and_all_come_to_their_turn(seed: int) -> None:
    """Each environment gets as many turns as it wants, from threads that never wait inside."""
    wishes = dict.fromkeys(NAMES, 200)
    ready = {name: threading.Event() for name in NAMES}
    turns = Turns(SHARED, lambda name: ready[name].set())
    inside: list[str] = []
    met: list[list[str]] = []
    chances = random.Random(seed)

    def work(name: str) -> None:
        while wishes[name]:
            if not turns.take(name):
                assert ready[name].wait(10), f"{name} was never woken"
                ready[name].clear()
                continue
            inside.append(name)
            met.extend([list(inside)] if len(inside) > 1 else [])
            wishes[name] -= 1
            for _ in range(chances.randrange(50)):
                pass
            inside.remove(name)
            turns.give(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in NAMES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert met == []
    assert set(wishes.values()) == {0}

"""A short slice of what `make fuzz` does, the same every time."""

import random

from tests.fuzz import engine
from tests.fuzz.seeds import grown, seeds


def test_mutated_messages_are_read_or_refused() -> None:
    found = [
        wrong
        for number, data in enumerate(engine.inputs(20261121, 800, seeds()))
        if (wrong := engine.tried(data, random.Random(number)))
    ]
    assert not found


def test_the_same_seed_makes_the_same_inputs() -> None:
    assert engine.inputs(7, 50, seeds()) == engine.inputs(7, 50, seeds())
    assert grown(random.Random(3)) == grown(random.Random(3)) != grown(random.Random(4))
    assert len(seeds()) > 400

"""The tape does what PyTorch does: for every kind of op the same allocations and releases, of the same sizes, in the
same order. Types, shapes, layouts and requires-grad patterns are drawn anew each time; the seed is in the message, and
VRAMWISE_SEED repeats it. Needs the emulator and tape_ops (cmake builds both).
"""

import json
import os
import random

import compare
import machine
import pytest

EACH = int(os.environ.get("VRAMWISE_CASES", "8"))


@pytest.fixture(autouse=True)
def built():
    if machine.emulator() is None or compare.program() is None:
        pytest.skip("the emulator or tape_ops is not built")


@pytest.mark.parametrize("card", ["turing", "ampere", "hopper", "blackwell"])
def test_ops_allocate_as_in_pytorch(card):
    seed = int(os.environ.get("VRAMWISE_SEED", random.randrange(10**6)))
    right, wrong = compare.compare(seed, EACH, card)
    first = "\n".join(f"{kind}: {json.dumps(case)}\n{text}" for kind, case, text in wrong[:3])
    assert not wrong, f"seed {seed}, {right} equal, {len(wrong)} not:\n{first}"
    assert right >= 60 * EACH

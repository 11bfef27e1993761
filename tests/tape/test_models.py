"""Training steps of whole models: the tape allocates what transformers does (model_side.py), in the same order, and
the caching allocator's model comes to the same peaks, allocated and reserved. The runs are drawn anew each time; the
seed is in the message, and VRAMWISE_SEED repeats it.
"""

import os
import random
import subprocess

import compare_models
import machine
import model_cases
import pytest

COUNT = int(os.environ.get("VRAMWISE_CASES", "8"))


@pytest.fixture(autouse=True)
def built():
    if machine.emulator() is None or compare_models.program() is None:
        pytest.skip("the emulator or tape_models is not built")
    found = subprocess.run([machine.PYTHON, "-c", "import transformers"], check=False, capture_output=True)
    if found.returncode != 0:
        pytest.skip("transformers is not installed")


@pytest.mark.parametrize("card", ["turing", "ampere", "hopper", "blackwell"])
def test_models_allocate_as_in_transformers(card):
    seed = int(os.environ.get("VRAMWISE_SEED", random.randrange(10**6)))
    results = compare_models.compared(model_cases.draw(seed, COUNT), card)
    different = [result for result in results if not result.equal()]
    message = "\n".join(result.text() for result in different[:2])
    assert not different, f"seed {seed}, {len(different)} of {len(results)} differ:\n{message}"

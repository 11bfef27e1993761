"""Training steps under DeepSpeed: the tape allocates what its engine does, in its order, and comes to the same peaks.
Runs where VRAMWISE_DEEPSPEED_PYTHON names a Python that has DeepSpeed (docs/hacking.md); the seed is printed.
"""

import os
import random

import compare_models
import model_cases
import pytest

PYTHON = os.environ.get("VRAMWISE_DEEPSPEED_PYTHON")


@pytest.mark.sweep
@pytest.mark.parametrize("one", [model_cases.deepspeed, model_cases.zero3])
def test_models_allocate_as_under_deepspeed(one):
    if not PYTHON or compare_models.program() is None:
        pytest.skip("VRAMWISE_DEEPSPEED_PYTHON is not set, or tape_models is not built")
    seed = int(os.environ.get("VRAMWISE_SEED", random.randrange(10**6)))
    print("seed", seed)
    results = compare_models.compared(model_cases.draw(seed, 20, None, one), "ampere", PYTHON)
    different = [result for result in results if not result.equal()]
    message = "\n".join(result.text() for result in different[:2])
    assert not different, f"seed {seed}, {len(different)} of {len(results)} differ:\n{message}"

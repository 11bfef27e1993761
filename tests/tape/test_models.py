"""Training steps of whole models: the tape allocates what transformers does (model_side.py), in the same order, and
the caching allocator's model comes to the same peaks, allocated and reserved. The runs are drawn anew each time; the
seed is in the message, and VRAMWISE_SEED repeats it.
"""

import compare_models
import pytest


def test_models_allocate_as_in_transformers(drawn):
    if not drawn.models or compare_models.program() is None:
        pytest.skip("transformers is not installed, or tape_models is not built")
    results = compare_models.compared(drawn.models, drawn.card, torch=drawn.torch["models"])
    different = [result for result in results if not result.equal()]
    message = "\n".join(result.text() for result in different[:2])
    assert not different, f"seed {drawn.seed}, {len(different)} of {len(results)} differ:\n{message}"

"""One process of PyTorch a card does what both tests of this folder compare."""

import json
import os
import pathlib
import random
import subprocess
import sys
import types

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "dryrun")]

import cases  # noqa: E402
import compare  # noqa: E402
import machine  # noqa: E402
import model_cases  # noqa: E402


def is_modelled(card, case):
    """cuDNN has no bfloat16 convolutions before 8.0, and what PyTorch does instead isn't on the tape; TRL's loss stops
    there."""
    text = json.dumps(case)
    is_refused = any(word in text for word in ("conv2d", "pixel_values", "chunked"))
    return not (card == "turing" and is_refused and "bfloat16" in text)


EACH = int(os.environ.get("VRAMWISE_CASES", "8"))


@pytest.fixture(scope="session", params=["turing", "ampere", "hopper", "blackwell"])
def drawn(request):
    """The card, the seed, what was drawn (`ops`, `models`), and what PyTorch did (`torch`); drawn anew each time."""
    if machine.emulator() is None or compare.program() is None:
        pytest.skip("the emulator or tape_ops is not built")
    asked = {item.path.name for item in request.session.items}
    found = subprocess.run([machine.PYTHON, "-c", "import transformers, peft"], check=False, capture_output=True)
    seed = int(os.environ.get("VRAMWISE_SEED", random.randrange(10**6)))
    ops = cases.draw(seed, EACH) if "test_ops.py" in asked else []
    ops = [(kind, case) for kind, case in ops if is_modelled(request.param, case)]
    models = model_cases.draw(seed, EACH) if "test_models.py" in asked and found.returncode == 0 else []
    models = [run for run in models if is_modelled(request.param, run)]
    programs = {"ops": [case for _, case in ops], "models": models}
    torch = compare.from_torch(programs, request.param, machine.PYTHON, compare.values_environment())
    return types.SimpleNamespace(card=request.param, seed=seed, each=EACH, ops=ops, models=models, torch=torch)

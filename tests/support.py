"""What tests import: where the project is, a decoder that trains in a blink, and what a plan's --verify must find."""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Where a test is about the way through the program, not about the size of the model.
SMALLEST = "--hidden_size 32 --n_layers 2 --n_heads 2 --n_kv_heads 1 --head_dim 16 --intermediate_size 64".split()


def verified(ended):
    """What `plan --for TRAINER --verify --json` printed: the plan has run, and took what it says to the byte."""
    assert ended.returncode == 0, ended.stderr
    plan = json.loads(ended.stdout)
    print(plan["configuration"]["summary"], plan["verified"])
    (card,) = plan["verified"]["cards"]
    assert plan["verified"]["verdict"] == "fits"
    assert card["measured_bytes"] == card["predicted_bytes"] == plan["device_bytes"]
    return plan

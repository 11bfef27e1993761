"""Drawn plans for torchtune, run by its own recipe on an emulated card: what the card holds is the predicted byte.
torchtune is in no requirements file: pip install torchtune==0.6.1 torchao==0.15.0, beside torch 2.14.1.
"""

import json
import os
import random
import shutil

import pytest
from support import verified

SCALING = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FAMILIES = {
    "llama": {"num_key_value_heads": 2, "intermediate_size": 704, "tie_word_embeddings": False},
    "llama3_2": {"num_key_value_heads": 4, "rope_scaling": SCALING, "rope_theta": 500000.0},
    "qwen2": {"num_key_value_heads": 2, "intermediate_size": 640},
    "mistral": {"num_key_value_heads": 4, "intermediate_size": 512, "tie_word_embeddings": False},
}


def draw_model(rng):
    family = rng.choice([*FAMILIES])
    width, heads = 64 * rng.randint(2, 9), 4
    return {
        "model_type": "llama" if family == "llama3_2" else family,
        "hidden_size": width,
        "num_hidden_layers": rng.randint(1, 5),
        "num_attention_heads": heads,
        "intermediate_size": 128 * rng.randint(2, 9),
        "vocab_size": 128256 if family.startswith("llama") else rng.randint(900, 9000),
        "max_position_embeddings": rng.choice([1024, 2048, 16384]),
        "tie_word_embeddings": rng.random() < 0.5,
        "torch_dtype": "bfloat16",
        **FAMILIES[family],
    }


def draw_flags(rng):
    """Some knobs as they are drawn, the others as the search has them."""
    batch = rng.choice([2, 4, 6, 8])
    flags = ["--effective_batch", batch, "--seq_len", rng.choice([100, 333, 32 * rng.randint(2, 24)])]
    drawn = {
        "loss": ["whole", "chunked"],
        "optimizer": ["fused", "foreach", "for-loop"],
        "segments": ["fixed", "expandable"],
    }
    for knob, values in drawn.items():
        if rng.random() < 0.7:
            flags += ["--fix", f"{knob}={rng.choice(values)}"]
    if rng.random() < 0.7:
        flags += ["--batch_size", rng.choice([size for size in (1, 2, batch) if batch % size == 0])]
    if rng.random() < 0.6:
        flags += ["--precision", rng.choice(["fp32", "bf16"])]
    if rng.random() < 0.6:
        flags += ["--gradient_checkpointing", rng.choice(["none", "all"])]
    return flags


@pytest.mark.sweep
@pytest.mark.skipif(shutil.which("tune") is None, reason="torchtune is not installed")
@pytest.mark.parametrize("number", range(int(os.environ.get("TORCHTUNE_PLANS", "12"))))
def test_a_drawn_plan_takes_what_it_says(vramwise, tmp_path, number):
    seed = os.environ.get("TORCHTUNE_SEED") or str(random.SystemRandom().randrange(1 << 30))
    rng = random.Random(f"{seed} {number}")
    config, flags = draw_model(rng), draw_flags(rng)
    print(f"TORCHTUNE_SEED={seed}, number {number}: {json.dumps(config)}")
    (tmp_path / "config.json").write_text(json.dumps(config))
    gpu = rng.choice(["rtx-3090", "a100-80gb", "h100-80gb"])
    print(gpu, *flags)
    ended = vramwise(
        "plan", "--model", tmp_path, "--for", "torchtune", "--gpu", gpu, *flags, "--verify", "--json", timeout=900
    )
    verified(ended)

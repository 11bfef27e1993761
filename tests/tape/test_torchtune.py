"""torchtune's recipe: the tape allocates what it does, in its order, and comes to the same peaks. Runs where
VRAMWISE_TUNE_PYTHON names a Python that has torchtune 0.6.1; the seed is printed.
"""

import os
import random

import compare
import compare_models
import pytest

PYTHON = os.environ.get("VRAMWISE_TUNE_PYTHON")
SCALING = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def draw_model(rng):
    """A config.json, and the same as the recipe's model."""
    builder = rng.choice(["llama3.llama3", "llama3_2.llama3_2", "qwen2.qwen2", "mistral.mistral"])
    kv_heads = rng.choice([1, 2, 4])
    arguments = {
        "vocab_size": rng.randint(900, 6000),
        "num_layers": rng.randint(1, 4),
        "num_heads": 4 * rng.choice([1, 2]),
        "num_kv_heads": kv_heads,
        "embed_dim": 128 * rng.randint(1, 4),
        "intermediate_dim": rng.randint(100, 900),
        "max_seq_len": rng.choice([1024, 2000, 8192]),
        "rope_base": rng.choice([10000, 500000]),
    }
    keys = ["vocab_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size"]
    keys += ["intermediate_size", "max_position_embeddings", "rope_theta"]
    config = dict(zip(keys, arguments.values(), strict=True)) | {"model_type": builder.split(".")[0]}
    if builder.startswith("llama3"):
        config["model_type"] = "llama"
    if builder == "llama3_2.llama3_2":
        arguments["scale_factor"] = rng.choice([8, 32])
        config["rope_scaling"] = {**SCALING, "factor": float(arguments["scale_factor"])}
    config["tie_word_embeddings"] = False
    if builder in ("llama3_2.llama3_2", "qwen2.qwen2"):
        config["tie_word_embeddings"] = arguments["tie_word_embeddings"] = rng.random() < 0.5
    return config, {"_component_": f"torchtune.models.{builder}", **arguments}


def draw_run(rng):
    config, model = draw_model(rng)
    return {
        "recipe": True,
        "config": config,
        "model": model,
        "dtype": rng.choice(["bfloat16", "bfloat16", "float32"]),
        "batch": rng.randint(1, 4),
        "length": rng.choice([64, 100, 333, 512, 1000]),
        "steps": rng.randint(1, 3),
        "accumulate": rng.randint(1, 3),
        "checkpoint": rng.random() < 0.5,
        "chunked": rng.random() < 0.6,
        "optimizer": {"name": "adamw", "how": rng.choice(["fused", "foreach", "loop"])},
    }


@pytest.mark.sweep
@pytest.mark.parametrize("card", ["ampere", "hopper"])
def test_the_recipe_allocates_as_the_tape_says(card):
    if not PYTHON or compare_models.program() is None:
        pytest.skip("VRAMWISE_TUNE_PYTHON is not set, or tape_models is not built")
    seed = int(os.environ.get("VRAMWISE_SEED", random.randrange(10**6)))
    print("seed", seed)
    rng = random.Random(f"{seed} {card}")
    runs = [draw_run(rng) for _ in range(int(os.environ.get("VRAMWISE_RUNS", "12")))]
    torch = compare.from_torch(runs, card, PYTHON, compare.values_environment(), "tune_side.py")
    results = compare_models.compared(runs, card, torch=torch)
    different = [result for result in results if not result.equal()]
    message = "\n".join(result.text() for result in different[:2])
    assert not different, f"seed {seed}, {len(different)} of {len(results)} differ:\n{message}"

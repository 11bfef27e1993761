"""Draws runs of torchtune's recipe, described as tune_side.py reads them: small models, and at times a whole one."""

import json
import random

import compare

CATALOGUE = compare.ROOT / "src" / "models" / "catalogue" / "data" / "models.json"
SCALING = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
WHOLE = ("meta-llama/Llama-3.2-1B", "meta-llama/Meta-Llama-3-8B", "Qwen/Qwen2-0.5B", "mistralai/Mistral-7B-v0.1")
CARDS = ("ampere", "hopper", "blackwell")
# The builders' names of a config.json's keys.
ARGUMENTS = {
    "vocab_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "embed_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "max_seq_len": "max_position_embeddings",
    "rope_base": "rope_theta",
}


def recipe_model(config):
    """The recipe's model of this config.json."""
    family = config["model_type"]
    builder = {"llama": "llama3_2" if "rope_scaling" in config else "llama3"}.get(family, family)
    arguments = {ours: config[theirs] for ours, theirs in ARGUMENTS.items()}
    if builder == "llama3_2":
        arguments["scale_factor"] = int(config["rope_scaling"]["factor"])
    if builder in ("llama3_2", "qwen2"):
        arguments["tie_word_embeddings"] = config["tie_word_embeddings"]
    return {"_component_": f"torchtune.models.{builder}.{builder}", **arguments}


def draw_config(rng):
    family = rng.choice(["llama", "llama3_2", "qwen2", "mistral"])
    kv_heads = rng.choice([1, 2, 4])
    config = {
        "model_type": "llama" if family == "llama3_2" else family,
        "vocab_size": rng.randint(900, 6000),
        "num_hidden_layers": rng.randint(1, 4),
        "num_attention_heads": 4 * rng.choice([1, 2]),
        "num_key_value_heads": kv_heads,
        "hidden_size": 128 * rng.randint(1, 4),
        "intermediate_size": rng.randint(100, 900),
        "max_position_embeddings": rng.choice([1024, 2000, 8192]),
        "rope_theta": rng.choice([10000, 500000]),
    }
    if family == "llama3_2":
        config["rope_scaling"] = {**SCALING, "factor": float(rng.choice([8, 32]))}
    config["tie_word_embeddings"] = family in ("llama3_2", "qwen2") and rng.random() < 0.5
    return config


def draw_run(rng, config=None):
    config = config or draw_config(rng)
    return {
        "recipe": True,
        "config": config,
        "model": recipe_model(config),
        "dtype": rng.choice(["bfloat16", "bfloat16", "float32"]),
        "batch": rng.randint(1, 4),
        "length": rng.choice([64, 100, 333, 512, 1000]),
        "steps": rng.randint(1, 3),
        "accumulate": rng.randint(1, 3),
        "checkpoint": rng.random() < 0.5,
        "chunked": rng.random() < 0.6,
        "optimizer": {"name": "adamw", "how": rng.choice(["fused", "foreach", "loop"])},
    }


def draw(seed, count):
    """Pairs of a card and a run; of each eight runs the last is one of a whole model."""
    known = {name: entry["config"] for entry in json.loads(CATALOGUE.read_text()) for name in entry["names"]}
    runs = []
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        config = None
        if number % 8 == 7:
            config = {"max_position_embeddings": 32768, "rope_theta": 500000} | known[WHOLE[number // 8 % len(WHOLE)]]
        runs.append((rng.choice(CARDS), draw_run(rng, config)))
    return runs

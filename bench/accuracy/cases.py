"""Draws training runs: an architecture in its real size, and what people vary. A run is described as in
tests/tape/model_side.py; `flags` is the same run as arguments of `vramwise estimate`."""

import pathlib
import random
import sys

from shapes import SHAPES

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests" / "tape"))
import encoder_cases

# A card of each compute capability; its memory is taken as without end, so that both peaks can be compared.
CARDS = ["t4", "a100-80gb", "rtx-3090", "rtx-4090", "h100-80gb", "rtx-5090"]
WITHOUT_END = "10000gb"
LORA_TARGETS = {
    "attention": ["q_proj", "v_proj"],
    "linear": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
PRECISIONS = {"bf16": "bfloat16", "fp32": "float32", "fp16": "float16"}
MOST_TOKENS = 32768


def _shape(rng, largest, only):
    """A family, and a checkpoint's shape of it; now and then other depths and vocabularies, as people make them."""
    possible = [shape for shape in SHAPES if _parameters(shape[1]) <= largest]
    family = rng.choice(sorted(only or {fields["model_type"] for _, fields in possible}))
    name, fields = rng.choice([shape for shape in possible if shape[1]["model_type"] == family])
    fields = dict(fields)
    depth = "n_layer" if fields["model_type"] == "gpt2" else "num_hidden_layers"
    if rng.random() < 0.3:
        fields[depth] = rng.randint(2, fields[depth])
        name += f", {fields[depth]} layers"
    if "vocab_size" in fields and rng.random() < 0.2:
        fields["vocab_size"] = rng.randint(5000, 160000)
        name += f", vocabulary {fields['vocab_size']}"
    return name, fields


def _parameters(fields):
    """About how many, to keep draws within a size."""
    if fields["model_type"] == "gpt2":
        return 12 * fields["n_layer"] * fields["n_embd"] ** 2 + 50257 * fields["n_embd"]
    hidden, inner = fields["hidden_size"], fields["intermediate_size"]
    return (
        fields["num_hidden_layers"] * (4 * hidden * hidden + 3 * hidden * inner) + fields.get("vocab_size", 0) * hidden
    )


def draw_run(rng, largest=80e9, most_tokens=MOST_TOKENS, only=None):
    name, config = _shape(rng, largest, only)
    precision = rng.choice(["bf16", "bf16", "fp32", "bf16-mixed", "fp16"])
    length = rng.choice([128, 256, 512, 512, 1024, 1024, 2048, 2048, 4096, 8192, rng.randint(100, 4000)])
    length = min(length, most_tokens, config.get("max_position_embeddings", most_tokens) - 2)
    run = {
        "name": name,
        "config": config,
        "precision": precision,
        "dtype": PRECISIONS.get(precision, "float32"),
        "length": length,
        "batch": rng.choice([b for b in (1, 1, 2, 3, 4, 6, 8, 16, 32) if b * length <= most_tokens]),
        "accumulate": rng.choice([1, 1, 2, 4]),
        "steps": 3,
        "attention": rng.choice(["sdpa", "sdpa", "sdpa", "eager"]),
        "checkpoint": rng.random() < 0.5,
        "clip": rng.random() < 0.7,
        "optimizer": rng.choice(
            [
                {"name": "adamw", "how": "foreach"},
                {"name": "adamw", "how": "fused"},
                {"name": "adamw", "how": "loop"},
                {"name": "sgd", "how": "foreach"},
                {"name": "sgd", "how": "foreach", "momentum": 0.9},
            ]
        ),
        "expandable": rng.random() < 0.25,
    }
    if precision == "bf16-mixed":
        run["autocast"] = "bfloat16"
    kind = config["model_type"]
    if kind in encoder_cases.FAMILIES:
        run |= encoder_cases.INPUTS[kind](rng, run)
    elif kind != "gpt2" and rng.random() < 0.3:
        targets = rng.choice(sorted(LORA_TARGETS))
        dropout = rng.choice([0.0, 0.05])
        run["lora"] = {"rank": rng.choice([8, 16, 64]), "dropout": dropout, "targets": LORA_TARGETS[targets]}
    return run


def draw(seed, count, cards=CARDS, **limits):
    """`count` runs; the cards take turns. A longer series begins with the shorter one of the same seed."""
    rng = random.Random(seed)
    return [{**draw_run(rng, **limits), "card": cards[i % len(cards)]} for i in range(count)]


def optimizer_name(optimizer):
    if optimizer["name"] == "sgd":
        return "sgd-momentum" if "momentum" in optimizer else "sgd"
    return {"foreach": "adamw", "fused": "adamw-fused", "loop": "adamw-loop"}[optimizer["how"]]


def flags(run):
    made = [
        *("--gpu", f"{run['card']}:{WITHOUT_END}"),
        *("--batch_size", run["batch"]),
        *("--seq_len", run["length"]),
        *("--gradient_accumulation_steps", run["accumulate"]),
        *("--precision", run["precision"]),
        *("--optimizer", optimizer_name(run["optimizer"])),
        *("--attention", run["attention"]),
    ]
    if run["checkpoint"]:
        made.append("--gradient_checkpointing")
    if not run["clip"]:
        made.append("--no_clip")
    if run["expandable"]:
        made.append("--expandable_segments")
    if lora := run.get("lora"):
        made += ["--lora_rank", lora["rank"], "--lora_dropout", lora["dropout"]]
        made += ["--lora_targets", ",".join(lora["targets"])]
    return [str(word) for word in made]


def kind(run):
    """Family, precision, checkpointing: what results are shown by."""
    return run["config"]["model_type"], run["precision"], "checkpointed" if run["checkpoint"] else "whole"

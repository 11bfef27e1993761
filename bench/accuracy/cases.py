"""Draws training runs: an architecture in its real size, and what people vary. A run is described as in
tests/tape/model_side.py; `flags` is the same run as arguments of `vramwise estimate`."""

import pathlib
import random
import sys

from shapes import SHAPES

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests" / "tape"))
import encoder_cases
from cases_network import BITSANDBYTES

# A card of each compute capability; its memory is taken as without end, so that both peaks can be compared.
CARDS = ["t4", "a100-80gb", "rtx-3090", "rtx-4090", "h100-80gb", "rtx-5090"]
WITHOUT_END = "10000gb"
GATED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GATED_MODELS = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "olmo",
    "olmo2",
    "granite",
    "cohere",
)
TENSOR_MODELS = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
QUERY_MODELS = ("mixtral", "qwen2_moe", "qwen3_moe", "phi", "opt", "starcoder2")
LORA_TARGETS = {
    "gpt2": [["c_attn"], ["c_attn", "c_proj", "c_fc"]],
    "gpt_neox": [["query_key_value"]],
    "phi3": [["qkv_proj", "o_proj"]],
    "t5": [["q", "v"], ["q", "k", "v", "o", "wo"]],
    **{family: [["q_proj", "v_proj"]] for family in QUERY_MODELS},
    **{family: [["q_proj", "v_proj"], GATED] for family in GATED_MODELS},
}
# What cuDNN takes for the convolutions of these is only estimated.
OF_IMAGES = ("clip", "resnet", "unet", "vit")
PRECISIONS = {"bf16": "bfloat16", "fp32": "float32", "fp16": "float16"}
SHARDED_OPTIMIZERS = ("adamw", "adamw-fused", "adamw-loop", "sgd", "sgd-momentum")
MOST_TOKENS = 32768
MOST_ON_HOST = 10e9  # bytes, of what is offloaded
DEPTHS = ("num_hidden_layers", "num_layers", "n_layer")
OPTIMIZERS = [
    ("adamw", {"name": "adamw", "how": "foreach"}),
    ("adamw", {"name": "adamw", "how": "foreach"}),
    ("adamw-fused", {"name": "adamw", "how": "fused"}),
    ("adamw-loop", {"name": "adamw", "how": "loop"}),
    ("sgd", {"name": "sgd", "how": "foreach"}),
    ("sgd-momentum", {"name": "sgd", "how": "foreach", "momentum": 0.9}),
    ("adafactor", {"name": "adafactor", "how": "loop"}),
    ("adafactor-transformers", {"name": "adafactor-transformers", "how": "loop"}),
    ("muon", {"name": "muon", "how": "foreach"}),
    *((name, {"name": name}) for name in BITSANDBYTES),
]


def _shape(rng, largest, only):
    """A family, and a model of it; now and then with fewer layers or another vocabulary, as people make them."""
    texts = [shape for shape in SHAPES if shape[1].get("model_type", "unet") not in OF_IMAGES]
    possible = [shape for shape in texts if shape[2] <= largest]
    families = {config["model_type"] for _, config, _ in possible}
    family = rng.choice(sorted(families & set(only) if only else families))
    name, config, _ = rng.choice([shape for shape in possible if shape[1]["model_type"] == family])
    config = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
    depth = next((key for key in DEPTHS if key in config), None)
    if depth and "layer_types" not in config and rng.random() < 0.3:
        config[depth] = rng.randint(2, config[depth])
        name += f", {config[depth]} layers"
    if "vocab_size" in config and rng.random() < 0.2:
        config["vocab_size"] += rng.randint(1, 5000)  # as for added tokens; special ones stay within
        name += f", vocabulary {config['vocab_size']}"
    return name, config


def draw_run(rng, largest=80e9, most_tokens=MOST_TOKENS, only=None, share_parallel=0.2):
    name, config = _shape(rng, largest, only)
    precision = rng.choice(["bf16", "bf16", "fp32", "bf16-mixed", "fp16", "fp16-mixed"])
    length = rng.choice([128, 256, 512, 512, 1024, 1024, 2048, 2048, 4096, 8192, rng.randint(100, 4000)])
    positions = config.get("max_position_embeddings", config.get("n_positions", most_tokens))
    length = min(length, most_tokens, positions - 2)
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
        "checkpoint": rng.random() < 0.5,  # or how many layers from the first on
        "clip": rng.random() < 0.7,
        "optimizer": rng.choice(OPTIMIZERS)[1],
        "expandable": rng.random() < 0.25,
    }
    if precision.endswith("mixed"):
        run["autocast"] = "bfloat16" if precision == "bf16-mixed" else "float16"
        run["scaler"] = precision == "fp16-mixed"
    if run.get("scaler") and run["optimizer"]["name"] == "muon":  # two optimizers under one scaler: refused
        run["optimizer"] = OPTIMIZERS[0][1]
    if run["checkpoint"]:
        run |= checkpointing(rng, next(config[key] for key in DEPTHS if key in config))
    kind = config["model_type"]
    if kind == "gemma2":  # transformers has no other attention for it
        run["attention"] = "eager"
    if kind == "t5" and precision == "fp16":  # what its blocks do in float16 is not modelled
        run |= {"precision": "bf16", "dtype": "bfloat16"}
    if kind in encoder_cases.FAMILIES:
        run |= encoder_cases.INPUTS[kind](rng, run)
    if kind in LORA_TARGETS and rng.random() < 0.3:
        described = {"rank": rng.choice([8, 16, 64]), "dropout": rng.choice([0.0, 0.05])}
        run["lora"] = {**described, "targets": rng.choice(LORA_TARGETS[kind])}
    return parallel(rng, run) if rng.random() < share_parallel else run


def checkpointing(rng, depth):
    """Every layer, as a rule; or the first so many, each second one, or all but what is expensive."""
    if rng.random() < 0.5:
        return {}
    first, second, selective = {"checkpoint": rng.randint(1, depth)}, {"every": 2}, {"selective": True}
    return rng.choice([first, second, selective] if depth > 1 else [first, selective])


def takes_parts(run):
    """Whether tensor parallelism of it is modelled."""
    has_plan = run["config"]["model_type"] in TENSOR_MODELS and run["config"].get("num_key_value_heads", 1) % 2 == 0
    return has_plan and not run.keys() & {"lora", "selective"} and not run.get("scaler")


def on_host(run):
    """Bytes of parameters, gradients and AdamW's states of the whole model. Offloaded, they are really there."""
    numbers = next(numbers for name, _, numbers in SHAPES if name == run["name"].partition(",")[0])
    return 4 * numbers * (2 if run["dtype"] in ("float16", "bfloat16") else 4)


def parallel(rng, run):
    """One of several cards; fully_shard takes the types of a mixed run as its own. DistributedDataParallel stops where
    a parameter gets no gradient, as poolers of encoders."""
    kind = run["config"]["model_type"]
    is_encoder = kind in encoder_cases.FAMILIES
    ranks = rng.choice([2, 4, 8, 16])
    shards = optimizer_name(run["optimizer"]) in SHARDED_OPTIMIZERS
    shards = shards and (kind != "t5" or run["precision"] != "fp16-mixed")
    if is_encoder and not shards:
        return run
    if shards and takes_parts(run) and rng.random() < 0.3:
        heads = run["config"]["num_key_value_heads"]
        return {**run, "parallel": {"kind": "tensor", "ranks": rng.choice([n for n in (2, 4, 8) if heads % n == 0])}}
    if not is_encoder and (not shards or rng.random() < 0.3):
        zero = run["optimizer"]["name"] != "muon" and "lora" not in run and rng.random() < 0.5
        return {**run, "parallel": {"kind": "ddp", "ranks": ranks, "views": rng.random() < 0.3, "zero": zero}}
    described = {"kind": "fsdp", "ranks": ranks, "keeps": rng.random() < 0.2}
    if run["precision"] != "fp16-mixed" and rng.random() < 0.3 and on_host(run) / ranks <= MOST_ON_HOST:
        described["offload"] = True
    if "autocast" not in run:
        return {**run, "parallel": described}
    computed = run.pop("autocast")
    return {**run, "dtype": computed, "parallel": {**described, "stored": "float32", "reduced": "float32"}}


def draw(seed, count, cards=CARDS, **limits):
    """`count` runs; the cards take turns. A longer series begins with the shorter one of the same seed."""
    rng = random.Random(seed)
    return [{**draw_run(rng, **limits), "card": cards[i % len(cards)]} for i in range(count)]


def optimizer_name(optimizer):
    return next(name for name, described in OPTIMIZERS if described == optimizer)


def flags(run):
    group = run.get("parallel", {"ranks": 1})
    made = [
        *("--gpu", f"{group['ranks']}x{run['card']}:{WITHOUT_END}"),
        *("--batch_size", run["batch"]),
        *("--seq_len", run["length"]),
        *("--gradient_accumulation_steps", run["accumulate"]),
        *("--precision", run["precision"]),
        *("--optimizer", optimizer_name(run["optimizer"])),
        *("--attention", run["attention"]),
    ]
    if run["checkpoint"]:
        made += ["--gradient_checkpointing", checkpointing_flag(run)]
    if "target_length" in run:
        made += ["--target_len", run["target_length"]]
    if not run["clip"]:
        made.append("--no_clip")
    if run["expandable"]:
        made.append("--expandable_segments")
    if "kind" in group:
        made += ["--parallel", "zero1" if group.get("zero") else group["kind"]]
    if group.get("views"):
        made.append("--gradient_as_bucket_view")
    if group.get("offload"):
        made += ["--offload", "cpu"]
    if group.get("keeps"):
        made.append("--no_reshard_after_forward")
    if lora := run.get("lora"):
        made += ["--lora_rank", lora["rank"], "--lora_dropout", lora["dropout"]]
        made += ["--lora_targets", ",".join(lora["targets"])]
    return [str(word) for word in made]


def checkpointing_flag(run):
    if run.get("selective"):
        return "selective"
    if "every" in run:
        return f"every-{run['every']}"
    return "all" if run["checkpoint"] is True else run["checkpoint"]


def kind(run):
    """Family, precision, checkpointing: what results are shown by."""
    return run["config"]["model_type"], run["precision"], "checkpointed" if run["checkpoint"] else "whole"

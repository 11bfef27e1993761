"""Random training runs of small models: architecture, precision, optimizer, checkpointing, attention, accumulation."""

import importlib.util
import random

import decoder_cases
import encoder_cases
from cases_network import BITSANDBYTES

HAS_TRL = importlib.util.find_spec("trl") is not None
HAS_LIGER = importlib.util.find_spec("liger_kernel") is not None
WITH_LIGER = ("llama", "mistral", "qwen2", "qwen3")
WITH_TENSOR_PLAN = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
WITH_MODULES_TO_SAVE = ("llama", "mistral", "qwen2", "qwen3", "gpt2")
NOT_SHARDED = ("clip", "resnet", "unet")  # the first has a parameter without dimensions, the others no such layers
FAMILIES = {**encoder_cases.FAMILIES, **decoder_cases.FAMILIES}


def optimizer(rng):
    kind = rng.choice(["adamw"] * 6 + ["sgd"] * 2 + ["muon", "adafactor", "adafactor-transformers", *BITSANDBYTES])
    described = {"name": kind, "how": rng.choice(["foreach", "fused", "loop"])}
    if kind == "adafactor":
        described["how"] = "loop"
    if kind == "sgd":
        described |= rng.choice([{}, {"momentum": 0.9}])
    return described


def lora(rng, config):
    name = config["model_type"]
    targets = rng.choice(decoder_cases.targets(name))
    described = {"rank": rng.choice([4, 8, 13]), "dropout": rng.choice([0.0, 0.1]), "targets": targets}
    if rng.random() < 0.3:
        described["dora"] = True
    saves = name in WITH_MODULES_TO_SAVE and not config.get("tie_word_embeddings", name == "gpt2")
    if saves and rng.random() < 0.3:
        described["save"] = rng.choice([["lm_head"], ["lm_head", "embed_tokens"]])
    return described


def takes_chunked_loss(name, run):
    is_plain = "quantize" not in run and "save" not in run.get("lora", {})
    return is_plain and name in decoder_cases.FAMILIES and name != "phi"  # whose head has a bias


def depth(config):
    return next((config[key] for key in ("num_hidden_layers", "n_layer") if key in config), 1)


def qlora(rng, run, precision):
    """So many tokens that bitsandbytes dequantizes weights: for fewer it has a fused kernel, which isn't modelled."""
    run |= {"dtype": "bfloat16", "quantize": rng.choice(["nf4", "nf4-double"]), "selective": False}
    run["batch"], run["length"] = rng.choice([(4, 512), (8, 256), (7, 300)])
    if precision == "autocast":
        run["autocast"] = "bfloat16"
    return run


def tensor_parallel(rng, run):
    """As many heads of keys and values as can be divided; transformers warns of nothing else."""
    ranks = rng.choice([2, 3, 4])
    config = dict(run["config"])
    heads = config["num_attention_heads"]
    if config["num_key_value_heads"] % ranks:
        config["num_attention_heads"] = heads * ranks
        config["num_key_value_heads"] *= ranks
        config["hidden_size"] = -(-config["hidden_size"] // (heads * ranks)) * heads * ranks
    return {"parallel": {"kind": "tensor", "ranks": ranks}, "config": config}


def parallel(rng, run, name):
    """Over several cards, as one of them; fully_shard takes the types of a mixed run as its own."""
    ranks = rng.choice([2, 3, 4, 8])
    optimizer = run["optimizer"]["name"], run["optimizer"]["how"] == "fused"
    takes_parts = name in WITH_TENSOR_PLAN and not run.keys() & {"lora", "selective"} and not run.get("scaler")
    shards = optimizer in [("adamw", False), ("adamw", True), ("sgd", False)] and name not in NOT_SHARDED
    if name == "t5" and run.get("autocast") == "float16":
        shards = False
    if shards and takes_parts and rng.random() < 0.3:
        return tensor_parallel(rng, run)
    if name not in decoder_cases.FAMILIES and not shards:  # DistributedDataParallel wants a gradient for each parameter
        return {}
    if name in decoder_cases.FAMILIES and not (shards and rng.random() < 0.7):
        zero = optimizer[0] != "muon" and "lora" not in run and rng.random() < 0.5
        return {"parallel": {"kind": "ddp", "ranks": ranks, "views": rng.random() < 0.5, "zero": zero}}
    described = {"kind": "fsdp", "ranks": ranks, "keeps": rng.random() < 0.3}
    if not run.get("scaler") and rng.random() < 0.3:
        described["offload"] = True
    if "autocast" not in run:
        return {"parallel": described}
    computed = run.pop("autocast")
    described |= {"stored": "float32", "reduced": rng.choice(["float32", computed])}
    return {"parallel": described, "dtype": computed}


def draw_run(rng, families=None):
    name = rng.choice(sorted(families or FAMILIES))
    precision = rng.choice(["float32", "bfloat16", "autocast"])
    run = {
        "config": FAMILIES[name](rng),
        "dtype": "float32" if precision == "autocast" else precision,
        "batch": rng.randint(1, 4),
        "length": rng.choice([rng.randint(2, 300), 64, 128, 256, 512]),
        "steps": 3,
        "attention": rng.choice(["sdpa", "sdpa", "eager"]),
        "checkpoint": rng.choice([False, False, False, False, True, True, 1, 2]),
        "clip": rng.random() < 0.5,
        "accumulate": rng.choice([1, 1, 1, 2, 3]),
        "optimizer": optimizer(rng),
    }
    if run["checkpoint"] and rng.random() < 0.3:
        run["selective"] = True
    if run["checkpoint"] is True and depth(run["config"]) > 1 and rng.random() < 0.2:
        run["every"] = 2
    if name in encoder_cases.FAMILIES:
        run |= encoder_cases.INPUTS[name](rng, run)
    elif name in decoder_cases.NO_SDPA:
        run["attention"] = "eager"
    if (name in decoder_cases.FAMILIES or name == "t5") and rng.random() < 0.35:
        run["lora"] = lora(rng, run["config"])
    takes_4bit = BITSANDBYTES and name in ("llama", "mistral", "qwen2", "qwen3") and precision != "float32"
    if takes_4bit and "dora" not in run.get("lora", {"dora": True}) and rng.random() < 0.4:
        return qlora(rng, run, precision)
    if precision == "autocast":
        run["autocast"] = rng.choice(["bfloat16", "float16"])
        run["scaler"] = run["autocast"] == "float16" and run["optimizer"]["name"] != "muon" and rng.random() < 0.7
    if rng.random() < 0.25:
        run |= parallel(rng, run, name)
    is_tensor = run.get("parallel", {}).get("kind") == "tensor"
    takes_liger = HAS_LIGER and name in WITH_LIGER and not run.keys() & {"lora", "autocast"} and not is_tensor
    if takes_liger and rng.random() < 0.3:
        run["liger"] = True
    elif HAS_TRL and takes_chunked_loss(name, run) and not is_tensor and rng.random() < 0.3:
        run["chunked"] = True
    return run


WITHOUT_DEEPSPEED = ("lora", "quantize", "autocast", "scaler", "liger", "chunked", "parallel")


def deepspeed(rng, families=None):
    """A run under DeepSpeed's ZeRO, in a type of the engine's own, as one of the ranks."""
    run = draw_run(rng, families or [*decoder_cases.FAMILIES, "bert", "roberta", "t5"])
    run = {key: value for key, value in run.items() if key not in WITHOUT_DEEPSPEED}
    run["optimizer"] = {"name": rng.choice(["adamw", "adamw", "sgd"]), "how": rng.choice(["foreach", "fused", "loop"])}
    if run["optimizer"]["name"] == "sgd":
        run["optimizer"] |= {"how": "foreach", **rng.choice([{}, {"momentum": 0.9}])}
    takes_fp16 = run["config"].get("model_type") in ("llama", "gpt2", "bert", "mistral", "qwen2")
    run["dtype"] = rng.choice(["float32", "bfloat16", *(["float16"] if takes_fp16 else [])])
    zero = {"stage": rng.choice([1, 2, 2])}
    if rng.random() < 0.7:
        zero["reduce_bucket_size"] = rng.choice([5_000, 20_000, 100_000, 500_000, rng.randint(1_000, 2_000_000)])
    for key in ("overlap_comm", "round_robin_gradients"):
        if rng.random() < 0.3:
            zero[key] = True
    for key in ("reduce_scatter", "use_multi_rank_bucket_allreduce"):
        if rng.random() < 0.15:
            zero[key] = False
    config = {
        "train_micro_batch_size_per_gpu": run["batch"],
        "gradient_accumulation_steps": run["accumulate"],
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
    }
    if not run.pop("clip"):
        config["gradient_clipping"] = 0.0  # by default it clips
    if run["dtype"] != "float32":
        config[{"bfloat16": "bf16", "float16": "fp16"}[run["dtype"]]] = {"enabled": True}
    if run["dtype"] == "bfloat16" and rng.random() < 0.3:
        config["bf16"]["check_grad_overflow"] = False
    if rng.random() < 0.3:
        config["optimizer"] = {"type": "AdamW", "params": {"torch_adam": rng.random() < 0.3}}
        run["optimizer"] = {"name": "adamw", "how": "foreach"}
    ranks = rng.randint(2, 8)
    return run | {"parallel": {"kind": "deepspeed", "ranks": ranks, "rank": rng.randrange(ranks), "config": config}}


ZERO3_FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "smollm3")


def zero3(rng, families=None):
    """The same under ZeRO-3."""
    run = deepspeed(rng, families or ZERO3_FAMILIES)
    zero = run["parallel"]["config"]["zero_optimization"]
    zero["stage"] = 3
    zero.pop("round_robin_gradients", None)
    zero.pop("use_multi_rank_bucket_allreduce", None)
    run.pop("selective", None)
    if rng.random() < 0.3:
        zero["overlap_comm"] = rng.random() < 0.5
    if rng.random() < 0.2:
        zero["contiguous_gradients"] = False
    if run["config"]["model_type"] != "gpt2" and rng.random() < 0.3:
        factors = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 1024}
        kind = rng.choice(["linear", "llama3"])
        rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 8.0, **(factors if kind == "llama3" else {})}
        run["config"]["rope_parameters"] = rope
    hidden = run["config"].get("hidden_size", run["config"].get("n_embd"))
    sizes = {
        "stage3_prefetch_bucket_size": [0, 1, hidden * hidden * 9 // 10, rng.randint(1_000, 1_000_000)],
        "stage3_param_persistence_threshold": [0, 10 * hidden, rng.randint(1, 100_000)],
        "stage3_model_persistence_threshold": [rng.randint(1, 100_000)],
        "stage3_max_live_parameters": [rng.randint(1_000, 1_000_000)],
        "stage3_max_reuse_distance": [0, rng.randint(1_000, 1_000_000)],
        "sub_group_size": [1, rng.randint(1_000, 500_000)],
    }
    for key, values in sizes.items():
        if rng.random() < 0.5:
            zero[key] = rng.choice(values)
    return run


def draw(seed, count, families=None, one=draw_run):
    rng = random.Random(seed)
    return [one(rng, families) for _ in range(count)]

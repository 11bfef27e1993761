"""Random training runs of small models: architecture, precision, optimizer, checkpointing, attention, accumulation."""

import random

import encoder_cases
from cases_network import BITSANDBYTES

FAMILIES = dict(encoder_cases.FAMILIES)


def family(make):
    FAMILIES[make.__name__] = make
    return make


def heads_of(rng):
    kv = rng.choice([1, 2, 3, 4])
    heads = kv * rng.choice([1, 1, 2, 4])
    return heads, kv, rng.choice([16, 32, 64, 80, 128])


def decoder(rng):
    heads, kv, head_dim = heads_of(rng)
    return {
        "vocab_size": rng.choice([1000, 4099, 32000]),
        "hidden_size": heads * rng.choice([head_dim, 8, 24, 40, 64]),
        "intermediate_size": rng.choice([100, 256, 777, 1024]),
        "num_hidden_layers": rng.randint(1, 4),
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": head_dim,
        "tie_word_embeddings": rng.random() < 0.4,
    }


def sliding(rng, described):
    """Some layers, or all, with a window that some lengths exceed."""
    if rng.random() < 0.5:
        layers = described["num_hidden_layers"]
        first = rng.randint(0, layers - 1)
        described |= {
            "use_sliding_window": True,
            "sliding_window": rng.choice([50, 128, 4096]),
            "max_window_layers": first,
        }
    return described


@family
def llama(rng):
    biases = {"attention_bias": rng.random() < 0.2, "mlp_bias": rng.random() < 0.2}
    return {"model_type": "llama", **decoder(rng), **biases}


@family
def mistral(rng):
    return {"model_type": "mistral", **decoder(rng), "sliding_window": rng.choice([None, 50, 128, 4096])}


@family
def qwen2(rng):
    return sliding(rng, {"model_type": "qwen2", **decoder(rng)})


@family
def qwen3(rng):
    return sliding(rng, {"model_type": "qwen3", **decoder(rng), "attention_bias": rng.random() < 0.2})


@family
def gpt2(rng):
    heads = rng.choice([1, 2, 3, 4, 8])
    dropouts = rng.choice([{}, {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}])
    return {
        "model_type": "gpt2",
        "vocab_size": rng.choice([1000, 4099, 50257]),
        "n_positions": 600,
        "n_embd": heads * rng.choice([16, 32, 40, 64]),
        "n_layer": rng.randint(1, 4),
        "n_head": heads,
        **dropouts,
    }


def optimizer(rng):
    kind = rng.choice(["adamw"] * 6 + ["sgd"] * 2 + ["muon", "adafactor", "adafactor-transformers", *BITSANDBYTES])
    described = {"name": kind, "how": rng.choice(["foreach", "fused", "loop"])}
    if kind == "adafactor":
        described["how"] = "loop"
    if kind == "sgd":
        described |= rng.choice([{}, {"momentum": 0.9}])
    return described


def lora(rng, config):
    if config["model_type"] == "gpt2":
        targets = rng.choice([["c_attn"], ["c_attn", "c_proj", "c_fc"]])
    else:
        some = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]
        targets = rng.choice([["q_proj", "v_proj"], some])
    described = {"rank": rng.choice([4, 8, 13]), "dropout": rng.choice([0.0, 0.1]), "targets": targets}
    if rng.random() < 0.3:
        described["dora"] = True
    if not config.get("tie_word_embeddings", config["model_type"] == "gpt2") and rng.random() < 0.3:
        described["save"] = rng.choice([["lm_head"], ["lm_head", "embed_tokens"]])
    return described


def qlora(rng, run, precision):
    """So many tokens that bitsandbytes dequantizes weights: for fewer it has a fused kernel, which isn't modelled."""
    run |= {"dtype": "bfloat16", "quantize": rng.choice(["nf4", "nf4-double"])}
    run["batch"], run["length"] = rng.choice([(4, 512), (8, 256), (7, 300)])
    if precision == "autocast":
        run["autocast"] = "bfloat16"
    return run


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
        "checkpoint": rng.random() < 0.35,
        "clip": rng.random() < 0.5,
        "accumulate": rng.choice([1, 1, 1, 2, 3]),
        "optimizer": optimizer(rng),
    }
    if name in encoder_cases.FAMILIES:
        run |= encoder_cases.INPUTS[name](rng, run)
    elif rng.random() < 0.35:
        run["lora"] = lora(rng, run["config"])
    takes_4bit = BITSANDBYTES and name in ("llama", "mistral", "qwen2", "qwen3") and precision != "float32"
    if takes_4bit and "dora" not in run.get("lora", {"dora": True}) and rng.random() < 0.4:
        return qlora(rng, run, precision)
    if precision == "autocast":
        run["autocast"] = rng.choice(["bfloat16", "float16"])
        run["scaler"] = run["autocast"] == "float16" and run["optimizer"]["name"] != "muon" and rng.random() < 0.7
    return run


def draw(seed, count, families=None):
    rng = random.Random(seed)
    return [draw_run(rng, families) for _ in range(count)]

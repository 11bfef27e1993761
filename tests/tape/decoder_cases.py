"""Random configurations of decoder-only language models, small and of odd sizes."""

FAMILIES = {}


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


def without(described, *keys):
    """Heads that have an even share of the width each, where an architecture knows no other."""
    described = {key: value for key, value in described.items() if key not in keys}
    heads = described["num_attention_heads"]
    return described | {"hidden_size": heads * max(8, described["hidden_size"] // heads // 8 * 8)}


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
def smollm3(rng):
    described = {
        "model_type": "smollm3",
        **decoder(rng),
        "pad_token_id": 0,
        "no_rope_layer_interval": rng.choice([1, 2, 4]),
    }
    if rng.random() < 0.5:
        described |= {"use_sliding_window": True, "sliding_window": rng.choice([50, 128, 4096])}
    return described


@family
def granite(rng):
    biases = {"attention_bias": rng.random() < 0.2, "mlp_bias": rng.random() < 0.2}
    multipliers = {"embedding_multiplier": 12.0, "logits_scaling": 8.0, "residual_multiplier": 0.22}
    return {"model_type": "granite", **without(decoder(rng), "head_dim"), **biases, **multipliers}


@family
def gemma(rng):
    return {"model_type": "gemma", **decoder(rng), "attention_bias": rng.random() < 0.2}


def gemma_layers(rng):
    return {"sliding_window": rng.choice([50, 128, 4096]), "attention_bias": rng.random() < 0.2}


@family
def gemma2(rng):
    caps = {key: None for key in ("attn_logit_softcapping", "final_logit_softcapping") if rng.random() < 0.3}
    return {"model_type": "gemma2", **decoder(rng), **gemma_layers(rng), **caps}


@family
def gemma3_text(rng):
    caps = {"final_logit_softcapping": 30.0} if rng.random() < 0.3 else {}
    pattern = {"sliding_window_pattern": rng.choice([1, 2, 3, 6])}
    return {"model_type": "gemma3_text", **decoder(rng), **gemma_layers(rng), **pattern, **caps}


@family
def phi3(rng):
    described = {"model_type": "phi3", **without(decoder(rng), "head_dim"), "pad_token_id": 0}
    described |= rng.choice([{}, {"resid_pdrop": 0.1}])
    described |= rng.choice([{}, {"partial_rotary_factor": 0.5}])
    return described | {"sliding_window": rng.choice([None, 50, 128, 4096])}


@family
def phi(rng):
    described = {"model_type": "phi", **without(decoder(rng), "head_dim")}
    described |= rng.choice([{}, {"resid_pdrop": 0.1, "embd_pdrop": 0.1}])
    return described | rng.choice([{}, {"partial_rotary_factor": 0.5}, {"hidden_act": "gelu"}])


@family
def olmo(rng):
    return {"model_type": "olmo", **without(decoder(rng), "head_dim"), "attention_bias": rng.random() < 0.2}


@family
def olmo2(rng):
    return {"model_type": "olmo2", **without(decoder(rng), "head_dim"), "attention_bias": rng.random() < 0.2}


@family
def starcoder2(rng):
    described = {"model_type": "starcoder2", **without(decoder(rng), "head_dim"), "use_bias": rng.random() < 0.8}
    described |= rng.choice([{}, {"residual_dropout": 0.1, "embedding_dropout": 0.1}])
    return described | {"sliding_window": rng.choice([None, 50, 128, 4096])}


@family
def cohere(rng):
    described = {"model_type": "cohere", **without(decoder(rng), "head_dim"), "use_qk_norm": rng.random() < 0.4}
    return described | {"attention_bias": rng.random() < 0.2}


@family
def gpt_neox(rng):
    described = {"model_type": "gpt_neox", **without(decoder(rng), "head_dim", "num_key_value_heads")}
    described |= rng.choice([{}, {"hidden_dropout": 0.1, "attention_dropout": 0.1}])
    described |= rng.choice([{}, {"rotary_pct": 1.0}, {"use_parallel_residual": False}])
    return described | {"attention_bias": rng.random() < 0.8}


def experts(rng):
    """Rows of the experts' weights are aligned to 16 bytes, as the grouped product asks."""
    count = rng.choice([2, 5, 8, 60])
    return count, rng.randint(1, min(count, 8)), 8 * rng.randint(1, 60)


def wide(described):
    """A width that is a multiple of 8."""
    return described | {"hidden_size": described["hidden_size"] // 8 * 8 + 8}


@family
def mixtral(rng):
    count, chosen, inner = experts(rng)
    described = {"model_type": "mixtral", **wide(decoder(rng)), "intermediate_size": inner}
    described |= {"num_local_experts": count, "num_experts_per_tok": chosen}
    return described | {"sliding_window": rng.choice([None, None, 50, 4096])}


def plain_layers(rng):
    return rng.choice([{}, {}, {"decoder_sparse_step": 2}, {"mlp_only_layers": [0]}])


@family
def qwen2_moe(rng):
    count, chosen, inner = experts(rng)
    described = {"model_type": "qwen2_moe", **without(decoder(rng), "head_dim"), "moe_intermediate_size": inner}
    described |= {"num_experts": count, "num_experts_per_tok": chosen, "norm_topk_prob": rng.random() < 0.5}
    described |= {"shared_expert_intermediate_size": rng.choice([100, 256]), **plain_layers(rng)}
    return described | rng.choice([{}, {"use_sliding_window": True, "sliding_window": rng.choice([50, 4096])}])


@family
def qwen3_moe(rng):
    count, chosen, inner = experts(rng)
    described = {"model_type": "qwen3_moe", **wide(decoder(rng)), "moe_intermediate_size": inner}
    described |= {"num_experts": count, "num_experts_per_tok": chosen, "norm_topk_prob": rng.random() < 0.5}
    described |= {"attention_bias": rng.random() < 0.2, **plain_layers(rng)}
    return described | rng.choice([{}, {"use_sliding_window": True, "sliding_window": rng.choice([50, 4096])}])


@family
def opt(rng):
    heads = rng.choice([1, 2, 3, 4, 8])
    described = {
        "model_type": "opt",
        "vocab_size": rng.choice([1000, 4099, 50272]),
        "max_position_embeddings": 600,
        "hidden_size": heads * rng.choice([16, 32, 40, 64]),
        "ffn_dim": rng.choice([100, 256, 777]),
        "num_hidden_layers": rng.randint(1, 4),
        "num_attention_heads": heads,
    }
    described |= rng.choice([{}, {"dropout": 0.0}, {"attention_dropout": 0.1}])
    return described | rng.choice([{}, {"do_layer_norm_before": False, "word_embed_proj_dim": 48}])


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


NO_SDPA = ("gemma2",)
ATTENTION = [["q_proj", "v_proj"], ["q_proj", "k_proj", "v_proj", "o_proj"]]
TARGETS = {
    "t5": [["q", "v"], ["q", "k", "v", "o", "wo"]],
    "gpt2": [["c_attn"], ["c_attn", "c_proj", "c_fc"]],
    "llama": [["q_proj", "v_proj"], ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]],
    "mixtral": ATTENTION,
    "qwen2_moe": ATTENTION,
    "qwen3_moe": ATTENTION,
    "phi3": [["qkv_proj"], ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]],
    "phi": [["q_proj", "v_proj"], ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]],
    "starcoder2": [["q_proj", "v_proj"], ["q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"]],
    "gpt_neox": [["query_key_value"], ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]],
    "opt": [["q_proj", "v_proj"], ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]],
}


def targets(name):
    """Lists of the layers that LoRA may adapt."""
    return TARGETS.get(name, TARGETS["llama"])

"""Random small encoders, encoder-decoders and models of images, and what a batch of theirs has."""

import importlib.util

FAMILIES = {}
INPUTS = {}  # by family: (rng, run) -> what is added to the run: sizes of its batch, and the tensors of one


def family(make):
    FAMILIES[make.__name__] = make
    return make


def inputs_of(*names):
    def register(make):
        INPUTS.update(dict.fromkeys(names, make))
        return make

    return register


def tensor(name, size, dtype="int64"):
    return {"name": name, "size": size, "dtype": dtype}


def bert_like(rng, model_type, prefix):
    heads = rng.choice([1, 2, 3, 4, 8])
    dropouts = rng.choice([{}, {}, {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}])
    head = rng.choice(["ForMaskedLM", "ForMaskedLM", "ForSequenceClassification"])
    return {
        "model_type": model_type,
        "architectures": [prefix + head],
        "vocab_size": rng.choice([1000, 4099, 30522]),
        "hidden_size": heads * rng.choice([16, 32, 40, 64]),
        "intermediate_size": rng.choice([100, 256, 777, 1024]),
        "num_hidden_layers": rng.randint(1, 4),
        "num_attention_heads": heads,
        "max_position_embeddings": 600,
        "hidden_act": rng.choice(["gelu", "gelu", "relu", "gelu_new"]),
        "tie_word_embeddings": rng.random() < 0.8,
        "num_labels": rng.choice([2, 5]),
        **dropouts,
    }


@family
def bert(rng):
    return bert_like(rng, "bert", "Bert")


@family
def roberta(rng):
    return bert_like(rng, "roberta", "Roberta")


@family
def vit(rng):
    heads = rng.choice([1, 2, 3, 4])
    patch = rng.choice([4, 8, 16])
    dropouts = rng.choice([{}, {}, {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}])
    return {
        "model_type": "vit",
        "architectures": ["ViTForImageClassification"],
        "image_size": patch * rng.randint(2, 12),
        "patch_size": patch,
        "num_channels": rng.choice([1, 3, 3]),
        "hidden_size": heads * rng.choice([16, 32, 40, 64]),
        "intermediate_size": rng.choice([100, 256, 777]),
        "num_hidden_layers": rng.randint(1, 4),
        "num_attention_heads": heads,
        "num_labels": rng.choice([2, 10, 1000]),
        "qkv_bias": rng.random() < 0.8,
        **dropouts,
    }


@family
def t5(rng):
    """Few heads and many, heads that are together narrower and wider than the model."""
    return {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "vocab_size": rng.choice([1000, 4099, 32128]),
        "d_model": rng.choice([64, 100, 256]),
        "d_kv": rng.choice([16, 32, 64]),
        "d_ff": rng.choice([100, 256, 777]),
        "num_layers": rng.randint(1, 3),
        "num_decoder_layers": rng.randint(1, 3),
        "num_heads": rng.randint(1, 6),
        "feed_forward_proj": rng.choice(["relu", "gated-gelu", "gated-silu", "gelu"]),
        "tie_word_embeddings": rng.random() < 0.5,
        "dropout_rate": rng.choice([0.1, 0.1, 0.0]),
        "decoder_start_token_id": 0,
    }


def unet(rng):
    """Stable Diffusion's kinds of levels, with and without the embeddings of XL."""
    levels = rng.randint(2, 3)
    widths = [32 * rng.randint(1, 3) for _ in range(levels)]
    attends = [rng.random() < 0.7 for _ in range(levels)]
    config = {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 4 * rng.randint(2, 8),
        "block_out_channels": widths,
        "layers_per_block": rng.randint(1, 2),
        "down_block_types": [("CrossAttn" if each else "") + "DownBlock2D" for each in attends],
        "up_block_types": [("CrossAttn" if each else "") + "UpBlock2D" for each in reversed(attends)],
        "cross_attention_dim": rng.choice([24, 64, 96]),
        "attention_head_dim": rng.choice([2, 4, [rng.choice([1, 2, 4]) for _ in widths]]),
        "transformer_layers_per_block": rng.choice([1, 1, [rng.randint(1, 2) for _ in widths]]),
        "use_linear_projection": rng.random() < 0.5,
    }
    if rng.random() < 0.4:
        added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 16}
        config |= {**added, "projection_class_embeddings_input_dim": 6 * 16 + rng.choice([32, 80])}
    return config


if importlib.util.find_spec("diffusers"):
    family(unet)


def clip_tower(rng):
    heads = rng.choice([1, 2, 3, 4])
    return {
        "hidden_size": heads * rng.choice([16, 32, 40, 64]),
        "intermediate_size": rng.choice([100, 256, 777]),
        "num_hidden_layers": rng.randint(1, 3),
        "num_attention_heads": heads,
        "attention_dropout": rng.choice([0.0, 0.0, 0.1]),
        "hidden_act": rng.choice(["quick_gelu", "gelu"]),
    }


@family
def clip(rng):
    patch = rng.choice([8, 16])
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": rng.choice([32, 77, 128]),
        "text_config": {
            **clip_tower(rng),
            "vocab_size": rng.choice([1000, 4099]),
            "eos_token_id": rng.choice([2, 999]),
            "max_position_embeddings": 600,
        },
        "vision_config": {**clip_tower(rng), "patch_size": patch, "image_size": patch * rng.randint(2, 10)},
    }


@inputs_of("clip")
def pair_inputs(rng, run):
    size = run["config"]["vision_config"]["image_size"]
    texts = tensor("input_ids", [run["batch"], run["length"]])
    images = tensor("pixel_values", [run["batch"], 3, size, size], "float32")
    return {"image_size": size, "arguments": {"return_loss": True}, "inputs": [texts, images]}


@family
def resnet(rng):
    layer_type = rng.choice(["bottleneck", "bottleneck", "basic"])
    stages = rng.randint(1, 4)
    return {
        "model_type": "resnet",
        "architectures": ["ResNetForImageClassification"],
        "num_channels": 3,
        "embedding_size": rng.choice([8, 16, 32]),
        "hidden_sizes": [rng.choice([16, 32, 64]) * 2**i for i in range(stages)],
        "depths": [rng.randint(1, 3) for _ in range(stages)],
        "layer_type": layer_type,
        "downsample_in_first_stage": rng.random() < 0.3,
        "downsample_in_bottleneck": rng.random() < 0.3,
        "num_labels": rng.choice([2, 10, 1000]),
    }


@inputs_of("resnet")
def cast_image_inputs(rng, run):
    """The model casts nothing, and knows neither checkpointing nor attention."""
    size = rng.choice([96, 130, 224])
    inputs = [tensor("pixel_values", [run["batch"], 3, size, size], run["dtype"]), tensor("labels", [run["batch"]])]
    added = {"image_size": size, "checkpoint": False, "attention": "eager", "inputs": inputs}
    if run["optimizer"]["name"] == "muon":  # wants matrices
        added["optimizer"] = {"name": "adamw", "how": "foreach"}
    return added


@inputs_of("vit")
def image_inputs(rng, run):
    size = run["config"]["image_size"]
    pixels = [run["batch"], run["config"]["num_channels"], size, size]
    inputs = [tensor("pixel_values", pixels, "float32"), tensor("labels", [run["batch"]])]
    return {"image_size": size, "inputs": inputs}


@inputs_of("unet", "UNet2DConditionModel")
def unet_inputs(rng, run):
    config, batch, kind = run["config"], run["batch"], run["dtype"]
    size = config["sample_size"]
    images = [batch, config.get("in_channels", 4), size, size]
    inputs = [
        tensor("sample", images, kind),
        tensor("timestep", [batch]),
        tensor("encoder_hidden_states", [batch, 77, config["cross_attention_dim"]], kind),
        tensor("target", images, kind),
    ]
    if "addition_embed_type" in config:
        width = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
        inputs += [tensor("text_embeds", [batch, width], kind), tensor("time_ids", [batch, 6], kind)]
    added = {"length": 77, "image_size": size, "attention": "sdpa", "checkpoint": bool(run["checkpoint"])}
    if run["optimizer"]["name"] == "muon":  # a UNet has no layers by its rule
        added["optimizer"] = {"name": "adamw", "how": "foreach"}
    return {**added, "inputs": inputs}


@inputs_of("t5")
def pair_of_texts(rng, run):
    length = rng.choice([rng.randint(2, 200), 64, 128])
    texts = [tensor("input_ids", [run["batch"], run["length"]]), tensor("labels", [run["batch"], length])]
    return {"target_length": length, "inputs": texts}


@inputs_of("bert", "roberta")
def text_inputs(rng, run):
    texts = [run["batch"], run["length"]]
    is_language = run["config"]["architectures"][0].endswith("LM")
    return {"inputs": [tensor("input_ids", texts), tensor("labels", texts if is_language else texts[:1])]}

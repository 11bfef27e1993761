"""Published, measured training throughputs (cases.jsonl), and what each is for `vramwise estimate`."""

import json
import pathlib
import random

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20261130
MOST_OF_A_SOURCE = 20

# Names of the sources for cards, and what the catalogue calls them. Where a source doesn't say which form it was, the
# one that such machines have.
CARDS = {
    "a100-80gb": "a100-80gb-sxm",
    "a100-40gb": "a100-40gb-sxm",
    "h100-80gb": "h100-80gb-sxm",
    "v100-16gb-sxm2": "v100-16gb-sxm",
    "v100-32gb-sxm2": "v100-32gb-sxm",
    "v100-32gb-sxm3-dgx2": "v100-32gb-sxm",
    "quadro-rtx-8000": "quadro-rtx-8000",
}
UNKNOWN_CARDS = {"h100-96gb-hbm2e"}  # an H100 with other memory than any of the catalogue's
FUSED = ("adamw fused", "apex", "lamb", "decoupled_adamw", "fused")


def read():
    return [json.loads(line) for line in (HERE / "cases.jsonl").read_text().splitlines()]


def reason_against(case):
    """Why a case is outside of what the time model says something about; None: it isn't."""
    if case["suspect"] or not case["complete"]:
        return "its configuration is not known whole"
    compute = case["precision"]["compute"] or ""
    params = case["precision"]["params"] or ""
    if "tf32" in compute or "fp8" in compute:
        return "TF32 and FP8 products are not what PyTorch does by default"
    if "TensorFlow" in case["software"] or "Megatron" in case["software"] or case["software"].startswith("llm.c"):
        return "kernels that are none of PyTorch's"
    if case["gpu"] in UNKNOWN_CARDS:
        return "a card that is not in the catalogue"
    if "frozen" in params:
        return "LoRA and quantized weights"
    if optimizer(case) is None:
        return "an optimizer of another library"
    return None


def optimizer(case):
    name = (case["optimizer"] or "adamw").lower()
    if "8bit" in name or "4bit" in name or "fp8" in name or "adafactor" in name:
        return None
    return "adamw-fused" if any(word in name for word in FUSED) else "adamw"


def precision(case):
    params, compute = case["precision"]["params"], case["precision"]["compute"]
    if compute == "fp32":
        return "fp32"
    kind = "fp16" if "fp16" in compute else "bf16"
    return f"{kind}-mixed" if params == "fp32" or "autocast" in compute else kind


def config(case):
    """As in a config.json. MPT's blocks are those of GPT-2 without biases; its attention mask costs nothing."""
    model = case["model"]
    if model["type"] in ("gpt2", "mpt"):
        still = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0} if model["type"] == "mpt" else {}
        return {
            "model_type": "gpt2",
            "n_embd": model["hidden"],
            "n_inner": model["ffn"],
            "n_layer": model["layers"],
            "n_head": model["heads"],
            "n_positions": max(case["seq_len"], 1024),
            "vocab_size": model["vocab"],
            **still,
        }
    common = {
        "model_type": model["type"],
        "hidden_size": model["hidden"],
        "intermediate_size": model["ffn"],
        "num_hidden_layers": model["layers"],
        "num_attention_heads": model["heads"],
    }
    if model["type"] == "llama":
        tied = model.get("tied_embeddings", False)
        more = {"num_key_value_heads": model["kv_heads"], "vocab_size": model["vocab"], "tie_word_embeddings": tied}
    elif model["type"] == "vit":
        more = {"image_size": model["image"], "patch_size": model["patch"], "num_labels": model["classes"]}
        more |= {"architectures": ["ViTForImageClassification"], "num_channels": 3}
    else:
        head = "BertForSequenceClassification" if "SQuAD" in case["notes"] else "BertForMaskedLM"
        more = {"architectures": [head], "vocab_size": model["vocab"], "max_position_embeddings": 512}
    return common | more


def flags(case):
    made = [
        *("--gpu", CARDS.get(case["gpu"], case["gpu"])),
        *("--batch_size", case["micro_batch"]),
        *("--gradient_accumulation_steps", case["grad_accum"] or 1),
        *("--precision", precision(case)),
        *("--optimizer", optimizer(case)),
        *("--attention", "eager" if "eager" in (case["attention"] or "") else "sdpa"),
    ]
    if case["model"]["type"] != "vit":
        made += ["--seq_len", case["seq_len"]]
    if case["checkpointing"]:
        made.append("--gradient_checkpointing")
    return [str(word) for word in made]


def measured_step_seconds(case):
    """Of one optimizer step on one card."""
    samples = case["micro_batch"] * (case["grad_accum"] or 1)
    value, unit = case["measured"]["value"], case["measured"]["unit"]
    cards = case["n_gpus"]
    if unit == "ms/step":
        return value / 1e3
    if unit == "samples/s":
        return samples * cards / value
    return samples * case["seq_len"] * (cards if unit == "tokens/s" else 1) / value


def drawn():
    """The cases that the model says something about; of each source at most some, drawn by the seed."""
    rng = random.Random(SEED)
    by_source = {}
    for case in read():
        if reason_against(case) is None:
            by_source.setdefault(case["source"].split("@")[0], []).append(case)
    chosen = []
    for source in sorted(by_source):
        cases = by_source[source]
        chosen += rng.sample(cases, min(MOST_OF_A_SOURCE, len(cases)))
    return chosen

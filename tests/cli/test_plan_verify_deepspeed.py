"""Drawn plans for DeepSpeed, run by their own train.py under the real one on emulated cards: what the card holds is the
predicted byte. DeepSpeed is in no requirements file: DS_BUILD_OPS=0 pip install deepspeed.
"""

import json
import os
import random
import shutil

import pytest
from support import verified

FAMILIES = {
    "llama": {"architectures": ["LlamaForCausalLM"], "num_key_value_heads": 2, "intermediate_size": 704},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": 4, "intermediate_size": 640},
    "mistral": {"architectures": ["MistralForCausalLM"], "num_key_value_heads": 2, "intermediate_size": 512},
}
GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_positions": 1024}


def draw_model(rng):
    layers, vocabulary, width = rng.randint(1, 5), rng.randint(900, 9000), 64 * rng.randint(2, 9)
    family = rng.choice([*FAMILIES, "gpt2"])
    if family == "gpt2":
        return {**GPT2, "n_embd": width, "n_layer": layers, "n_head": 4, "vocab_size": vocabulary}
    common = {"model_type": family, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 4}
    more = {"vocab_size": vocabulary, "max_position_embeddings": 2048, "tie_word_embeddings": rng.random() < 0.5}
    return {**common, **FAMILIES[family], **more, "torch_dtype": "bfloat16"}


def draw_flags(rng, cards, stages=("deepspeed zero1", "deepspeed zero2")):
    """Some knobs as they are drawn, the others as the search has them."""
    batch = cards * rng.choice([2, 4, 6, 8])
    flags = ["--effective_batch", batch, "--seq_len", 32 * rng.randint(2, 24)]
    drawn = {
        "bucket": ["500M", "50M", "5M"],
        "overlap": ["off", "on"],
        "optimizer": ["fused", "foreach", "for-loop"],
        "attention": ["sdpa", "eager"],
        "segments": ["fixed", "expandable"],
    }
    if len(stages) == 1 or rng.random() < 0.7:
        flags += ["--fix", f"sharing={rng.choice(stages)}"]
    for knob, values in drawn.items():
        if rng.random() < 0.7:
            flags += ["--fix", f"{knob}={rng.choice(values)}"]
    if rng.random() < 0.7:
        flags += ["--batch_size", rng.choice([size for size in (1, 2, batch // cards) if batch % (size * cards) == 0])]
    if rng.random() < 0.6:
        flags += ["--precision", rng.choice(["fp32", "bf16", "fp16"])]
    if rng.random() < 0.5:
        known = ["none", "all", "1", "selective"]  # the last not with stage 3
        flags += ["--gradient_checkpointing", rng.choice(known[: 3 if stages[0].endswith("3") else 4])]
    return flags


@pytest.mark.sweep
@pytest.mark.skipif(shutil.which("deepspeed") is None, reason="DeepSpeed is not installed")
@pytest.mark.parametrize(
    "stages", [("deepspeed zero1", "deepspeed zero2"), ("deepspeed zero3",)], ids=["below", "zero3"]
)
@pytest.mark.parametrize("number", range(int(os.environ.get("DEEPSPEED_PLANS", "12"))))
def test_a_drawn_plan_takes_what_it_says(vramwise, tmp_path, number, stages):
    seed = os.environ.get("DEEPSPEED_SEED") or str(random.SystemRandom().randrange(1 << 30))
    rng = random.Random(f"{seed} {number} {stages}")
    is_stage3 = stages == ("deepspeed zero3",)  # which has no plan for one card
    cards = ((2, 4, 8) if is_stage3 else (1, 2, 8))[number % 3]
    config, flags = draw_model(rng), draw_flags(rng, cards, stages)
    print(f"DEEPSPEED_SEED={seed}, number {number}: {json.dumps(config)}")
    card = rng.choice(["rtx-3090", "a100-80gb", "h100-80gb"])
    gpu = card if cards == 1 else f"{cards}x{card}"
    print(gpu, *flags)
    (tmp_path / "config.json").write_text(json.dumps(config))
    named = ("--model", tmp_path, "--for", "deepspeed", "--gpu", gpu, *flags)
    ended = vramwise("plan", *named, "--verify", "--json", timeout=900)
    if ended.returncode == 5:
        pytest.skip(ended.stderr)
    assert verified(ended)["configuration"]["sharing"] in stages

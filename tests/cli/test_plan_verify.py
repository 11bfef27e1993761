"""Plans for other trainers, run in their own words on emulated cards: what they take is what was predicted."""

import importlib.util
import json
import shutil

import pytest
from support import verified

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 8000,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("trainer", "cards", "more"),
    [
        ("transformers", "rtx-3090", ()),
        ("transformers", "2xrtx-3090", ("--gradient_checkpointing", "selective")),
        ("transformers", "rtx-3090", ("--fix", "lora=on", "--gradient_checkpointing", "2")),
        ("accelerate", "2xrtx-3090", ()),
        ("accelerate", "2xrtx-3090", ("--fix", "sharing=zero1")),
        ("accelerate", "8xrtx-3090", ("--gradient_checkpointing", "every-2")),
        ("transformers", "rtx-3090", ("--precision", "bf16-mixed")),
        ("transformers", "2xrtx-3090", ("--precision", "fp16-mixed", "--gradient_checkpointing", "all")),
        ("accelerate", "rtx-3090", ("--precision", "bf16-mixed", "--gradient_accumulation_steps", 4)),
        ("accelerate", "2xrtx-3090", ("--precision", "fp16-mixed")),
        ("fsdp2", "2xrtx-3090", ()),
        ("fsdp2", "2xrtx-3090", ("--fix", "sharing=fsdp2, on the host")),
        ("fsdp2", "8xrtx-3090", ("--precision", "bf16-mixed")),
        ("fsdp2", "8xrtx-3090", ("--precision", "fp16-mixed", "--gradient_checkpointing", "selective")),
    ],
)
def test_a_plan_takes_what_it_says(vramwise, tmp_path, trainer, cards, more):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    flags = (
        "--model",
        tmp_path,
        "--for",
        trainer,
        "--gpu",
        cards,
        "--effective_batch",
        32,
        "--fix",
        "loss=whole",
        *more,
    )
    ended = vramwise("plan", *flags, "--verify", "--json", timeout=600)
    verified(ended)
    assert "Traceback" not in ended.stderr and "deprecated" not in ended.stderr


@pytest.mark.sweep
def test_later_passes_and_steps_count(vramwise, tmp_path):
    """Of this one the third pass of a step takes 8 MiB more than two, and the third step 12 MiB more than two."""
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "vocab_size": 4000, "num_hidden_layers": 3}))
    fixed = [word for knob in ("loss=whole", "segments=fixed", "optimizer=fused") for word in ("--fix", knob)]
    flags = ("--model", tmp_path, "--for", "transformers", "--gpu", "rtx-3090", "--precision", "fp32", *fixed)
    sizes = ("--batch_size", 2, "--seq_len", 384, "--effective_batch", 16, "--gradient_checkpointing", "none")
    ended = vramwise("plan", *flags, *sizes, "--verify", "--json", timeout=600)
    assert verified(ended)["device_bytes"] == 650 << 20


@pytest.mark.sweep
@pytest.mark.skipif(importlib.util.find_spec("trl") is not None, reason="TRL is installed")
def test_a_package_that_is_missing_is_named(vramwise, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    flags = ("--model", tmp_path, "--for", "accelerate", "--gpu", "rtx-3090", "--fix", "loss=chunked")
    ended = vramwise("plan", *flags, "--seq_len", 128, "--verify", timeout=600)
    assert ended.returncode == 4 and not ended.stdout
    assert "needs trl" in ended.stderr and "pip install trl" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.sweep
@pytest.mark.skipif(shutil.which("tune") is not None, reason="torchtune is installed")
def test_torchtune_is_named_with_the_versions_that_go_together(vramwise, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "vocab_size": 128256}))
    flags = ("--model", tmp_path, "--for", "torchtune", "--gpu", "rtx-3090", "--seq_len", 128)
    ended = vramwise("plan", *flags, "--verify", timeout=600)
    assert ended.returncode == 4 and "pip install torchtune==0.6.1 torchao==0.15.0" in ended.stderr

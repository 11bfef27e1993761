"""The trainer against the same model in plain PyTorch: equal losses, step by step, from equal weights.

The text is just long enough for two sequences, and a step takes both: so every step sees all of it, whatever the order.
"""

import json
import math
import subprocess

import pytest

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")
safetensors_torch = pytest.importorskip("safetensors.torch")

from parity.plain_decoder import PlainDecoder  # noqa: E402  (only where there is torch)

MODEL = {
    "vocab_size": 97,
    "hidden_size": 64,
    "n_layers": 3,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "intermediate_size": 160,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "tie_embeddings": True,
}
SEQ_LEN = 48
STEPS = 20
OPTIMIZER = {
    "learning_rate": 3e-3,
    "min_learning_rate": 3e-4,
    "beta1": 0.9,
    "beta2": 0.95,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "max_grad_norm": 1.0,
    "warmup_steps": 4,
}


def learning_rate_at(step):
    if step <= OPTIMIZER["warmup_steps"]:
        return OPTIMIZER["learning_rate"] * step / OPTIMIZER["warmup_steps"]
    progress = (step - OPTIMIZER["warmup_steps"]) / (STEPS - OPTIMIZER["warmup_steps"])
    low, high = OPTIMIZER["min_learning_rate"], OPTIMIZER["learning_rate"]
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))


@pytest.fixture
def tokens():
    return numpy.random.default_rng(5).integers(0, MODEL["vocab_size"], 2 * SEQ_LEN + 1, dtype=numpy.uint16)


def make_plain(model):
    torch.manual_seed(3)
    return PlainDecoder(model)


def plain_losses(decoder, tokens):
    text = torch.from_numpy(tokens.astype("int64"))
    ids, targets = text[:-1].view(2, SEQ_LEN), text[1:].view(2, SEQ_LEN)
    optimizer = torch.optim.AdamW(
        decoder.parameter_groups(OPTIMIZER["weight_decay"]),
        betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]),
        eps=OPTIMIZER["eps"],
    )
    losses = []
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step)
        optimizer.zero_grad()
        loss = decoder.loss(ids, targets) / targets.numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), OPTIMIZER["max_grad_norm"])
        optimizer.step()
        losses.append(loss.item())
    return losses


def trained_losses(program, folder, decoder, tokens, model, step):
    """Losses of vramwise-train from the same weights, on the same text."""
    data = folder / "data"
    data.mkdir()
    tokens.tofile(data / "train.bin")
    tokens.tofile(data / "val.bin")
    weights = {name: tensor.contiguous() for name, tensor in decoder.state_dict().items()}
    safetensors_torch.save_file(weights, folder / "start.safetensors")
    spec = {
        "model": model,
        "step": {
            "micro_batch": 2,
            "seq_len": SEQ_LEN,
            "gradient_accumulation_steps": 1,
            "precision": "fp32",
            "checkpointed_blocks": 0,
            "loss_chunk_tokens": 1024,
            "offload_optimizer": False,
            **step,
        },
        "replicas": [
            {
                "device": "cpu",
                "micro_batch": step.get("micro_batch", 2),
                "predicted_peak_bytes": 1 << 30,
                "budget_bytes": 1 << 34,
            }
        ],
        "optimizer": OPTIMIZER,
        "schedule": {
            "max_steps": STEPS,
            "eval_every": 0,
            "eval_batches": 1,
            "save_every": 0,
            "log_every": 1,
            "stop_at_val_loss": None,
            "sample_tokens": 0,
            "seed": 1,
        },
        "data": {"data_dir": str(data), "tokenizer": ""},
        "out_dir": str(folder / "out"),
        "resume": False,
        "init_from": str(folder / "start.safetensors"),
    }
    (folder / "run.json").write_text(json.dumps(spec))
    ended = subprocess.run(
        [program.with_name("vramwise-train"), folder / "run.json"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


SETTINGS = {
    "plain": {},
    "accumulation": {"micro_batch": 1, "gradient_accumulation_steps": 2},
    "checkpointing": {"checkpointed_blocks": 3},
    "some_checkpointing": {"checkpointed_blocks": 1},
    "small_chunks": {"loss_chunk_tokens": 7},
    "offload": {"offload_optimizer": True},
    "all_at_once": {
        "micro_batch": 1,
        "gradient_accumulation_steps": 2,
        "checkpointed_blocks": 2,
        "loss_chunk_tokens": 20,
        "offload_optimizer": True,
    },
}


@pytest.mark.parametrize("step", SETTINGS.values(), ids=SETTINGS.keys())
def test_fp32_losses_are_equal(program, tmp_path, tokens, step):
    decoder = make_plain(MODEL)
    trained = trained_losses(program, tmp_path, decoder, tokens, MODEL, step)
    expected = plain_losses(decoder, tokens)
    assert expected[-1] < 0.7 * expected[0], "too little was learnt for the comparison to mean anything"
    assert trained == pytest.approx(expected, rel=1e-5)


def test_untied_embeddings(program, tmp_path, tokens):
    model = {**MODEL, "tie_embeddings": False, "n_kv_heads": 4, "rope_theta": 500000.0}
    decoder = make_plain(model)
    trained = trained_losses(program, tmp_path, decoder, tokens, model, {})
    assert trained == pytest.approx(plain_losses(decoder, tokens), rel=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bits_stay_close(program, tmp_path, tokens, precision):
    decoder = make_plain(MODEL)
    trained = trained_losses(program, tmp_path, decoder, tokens, MODEL, {"precision": precision})
    assert trained == pytest.approx(plain_losses(decoder, tokens), rel=0.02)


def test_the_chunked_loss_of_the_benchmark_is_the_same_loss(tokens):
    decoder = make_plain(MODEL)
    text = torch.from_numpy(tokens.astype("int64"))
    ids, targets = text[:-1].view(2, SEQ_LEN), text[1:].view(2, SEQ_LEN).clone()
    targets[0, :5] = -100
    results = []
    for chunk in (None, 31):
        decoder.zero_grad()
        loss = decoder.loss(ids, targets, chunk)
        loss.backward()
        results.append([loss, *[p.grad.clone() for p in decoder.parameters()]])
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(whole, chunked, rtol=1e-4, atol=1e-5)

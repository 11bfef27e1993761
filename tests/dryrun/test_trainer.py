"""The project's own trainer on emulated cards: its CUDA paths, and the plan against what PyTorch reserves.

Kernels are skipped, so losses mean nothing here.
"""

import json
import subprocess

import machine
import pytest

MIB = 1 << 20
SHAPE = (
    "--hidden_size 256 --n_layers 4 --n_heads 4 --n_kv_heads 2 --head_dim 64 --intermediate_size 704"
    " --seq_len 256 --batch_size 64 --gradient_accumulation_steps 2"
).split()
# Reserved against predicted. The trainer has small tensors beside the step, and evaluations.
LEAST, MOST = 0.99, 1.01


@pytest.fixture(scope="module")
def vramwise():
    path = machine.emulator().parents[2] / "bin" / "vramwise"
    if not path.with_name("vramwise-train").exists():
        pytest.skip("vramwise and vramwise-train are not built beside the emulator")
    return path


@pytest.fixture(scope="module")
def train(vramwise, tmp_path_factory):
    """train(cards, arguments…): three steps with evaluations and checkpoints. Returns outcome and JSON."""
    data = tmp_path_factory.mktemp("corpus") / "data"
    subprocess.run([vramwise, "synth", "--out", data, "--bytes", "300kb"], check=True, capture_output=True)

    def run(cards, *arguments, shape=SHAPE):
        folder = tmp_path_factory.mktemp("train")
        schedule = "--max_steps 3 --eval_every 2 --eval_batches 2 --save_every 2 --sample_tokens 4 --json".split()
        command = [
            vramwise,
            "train",
            "--device",
            "cuda",
            "--data_dir",
            data,
            "--out_dir",
            folder / "out",
            *shape,
            *schedule,
            *arguments,
        ]
        outcome = machine.run([str(part) for part in command], cards, folder)
        assert outcome.code == 0, outcome.err
        assert outcome.ledger["unmodelled"] == {}
        result = json.loads(outcome.out)
        assert result["steps"] == 3
        assert (folder / "out" / "step-000003" / "model.safetensors").exists()
        return outcome, result

    return run


def check_prediction(memory):
    print({key: round(value / MIB, 1) for key, value in memory.items() if key.endswith("_bytes")})
    assert LEAST <= memory["peak_bytes"] / memory["predicted_peak_bytes"] <= MOST, memory


def test_detection_sees_the_card(vramwise, tmp_path):
    outcome = machine.run([str(vramwise), "detect"], ["turing"], tmp_path, torch=False)
    assert outcome.code == 0, outcome.err
    assert "GPU 0: Test card 7.5" in outcome.out
    assert "free                 : 8192 MiB" in outcome.out


def test_a_hidden_card_takes_no_part_and_is_named(vramwise, tmp_path):
    """What CUDA_VISIBLE_DEVICES hides, detection says and plans leave out."""
    cards, plan = ["ampere", "ampere"], [str(vramwise), "plan", "--vram_auto"]
    both = machine.run(plan, cards, tmp_path, torch=False, env={"CUDA_VISIBLE_DEVICES": "0,1"})
    assert "Detected GPUs: 2" in both.out, both.err
    one = machine.run(plan, cards, tmp_path, torch=False, env={"CUDA_VISIBLE_DEVICES": "1"})
    assert "Detected GPUs: 1" in one.out, one.err
    shown = machine.run([str(vramwise), "detect"], cards, tmp_path, torch=False, env={"CUDA_VISIBLE_DEVICES": "1"}).out
    assert "CUDA_VISIBLE_DEVICES" in shown, shown


@pytest.mark.parametrize(
    ("card", "arguments"),
    [
        pytest.param("ampere", "--precision bf16 --gradient_checkpointing none", marks=pytest.mark.sweep),
        ("turing", "--precision fp16 --gradient_checkpointing all"),
        ("ampere", "--precision bf16 --gradient_checkpointing 2 --cpu_offload on"),
    ],
)
def test_one_card(train, card, arguments):
    outcome, result = train([card], *arguments.split())
    (memory,) = result["memory"]
    check_prediction(memory)
    device = outcome.ledger["devices"][0]
    # Beside PyTorch's segments there is the context and nothing else.
    assert device["peak_bytes"] == memory["peak_bytes"] + device["context_bytes"]
    # Master weights and two moments, in page-locked memory where they are offloaded; 3 million parameters.
    assert (outcome.ledger["pinned_host"]["peak_bytes"] > 32 * MIB) == ("offload" in arguments)


@pytest.mark.parametrize("larger", [pytest.param(0, marks=pytest.mark.sweep), 1])
def test_unequal_cards(train, larger):
    small = {
        **machine.CARDS["ampere"],
        "name": "Smaller test card",
        "total_bytes": 10 << 30,
        "nvml_total_bytes": 10 << 30,
        "sm_count": 68,
    }
    cards = ["ampere", small] if larger == 0 else [small, "ampere"]
    _, result = train(cards, "--precision", "bf16")
    first, second = result["memory"]
    # Only the larger card holds optimizer states, 36 MiB of them, and the plan knows.
    assert (first["device"], second["device"]) == (f"cuda:{larger}", f"cuda:{1 - larger}")
    check_prediction(first)
    check_prediction(second)
    assert first["predicted_peak_bytes"] - second["predicted_peak_bytes"] > 30 * MIB


def test_out_of_memory_in_a_step_halves_the_micro_batch(train):
    card = {"name": "Too small", "capability": "8.6", "total_bytes": 512 * MIB, "context_bytes": 100 * MIB}
    arguments = "--precision bf16 --gradient_checkpointing none --vram 8 --trust_vram".split()
    outcome, result = train([card], *arguments)
    assert "ran out of memory in step 1; it is repeated with micro-batches of 32 instead of 64" in outcome.err
    assert result["memory"][0]["peak_bytes"] <= 412 * MIB
    assert outcome.ledger["devices"][0]["out_of_memory"]


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("size", "card", "precision"),
    [("small", "rtx-3090", "bf16"), ("medium", "rtx-4090", "fp32"), ("medium", "h100-80gb-pcie", "bf16")],
)
def test_a_named_size_through_the_command(vramwise, tmp_path, size, card, precision):
    data, out = tmp_path / "data", tmp_path / "out"
    subprocess.run([vramwise, "synth", "--out", data, "--bytes", "100kb"], check=True, capture_output=True)
    shape = f"--model_size {size} --precision {precision} --seq_len 1024 --batch_size 8 --max_steps 2".split()
    shape += ["--gradient_accumulation_steps", "1"]
    command = [
        vramwise,
        "train",
        *shape,
        "--device",
        "cuda",
        "--data_dir",
        data,
        "--out_dir",
        out,
        "--sample_tokens",
        "1",
        "--json",
    ]
    outcome = machine.dryrun("--json", "--gpu", card, "--allow-writes", "--", *command)
    assert outcome.returncode == 0, outcome.stderr
    assert (outcome.report["verdict"], outcome.report["unmodelled"]) == ("fits", {})
    trained = json.loads(outcome.stderr[outcome.stderr.index("\n{\n") :])
    check_prediction(trained["memory"][0])

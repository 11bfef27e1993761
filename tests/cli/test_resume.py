"""--resume: the training of the earlier run is continued as it was, whatever memory there is today."""

import json
import subprocess

import numpy
import pytest
from safetensors.numpy import load_file
from support import SMALLEST

DOES_NOT_FIT, WORLD = 3, 4
SCHEDULE = "--eval_every 0 --save_every 0 --sample_tokens 0 --eval_batches 1".split()
MARGIN = ["--vram_safety_margin", "0"]


@pytest.fixture(autouse=True)
def has_trainer(program):
    if not program.with_name("vramwise-train").exists():
        pytest.skip("vramwise-train was not built")


def run_file(out):
    return json.loads((out / "run.json").read_text())


def weights(out, step):
    return load_file(out / f"step-{step:06}" / "model.safetensors")


def stopped_after(vramwise, out, steps, *flags):
    """A run of `steps` whose schedule is that of a longer one: as one that was interrupted there."""
    ended = vramwise("train", "--device", "cpu", "--out_dir", out, "--max_steps", steps, *flags)
    assert ended.returncode == 0, ended.stderr
    return ended


def test_another_vram_changes_memory_only(vramwise, corpus, tmp_path):
    constant = "--learning_rate 1e-3 --min_learning_rate 1e-3 --warmup_steps 0 --seed 5".split()
    flags = ["--data_dir", corpus, *SMALLEST, *SCHEDULE, *MARGIN, *constant]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    stopped_after(vramwise, whole, 4, "--vram", "20", "--seq_len", "64", *flags)
    stopped_after(vramwise, parts, 2, "--vram", "20", "--seq_len", "64", *flags)
    first = run_file(parts)

    # No flag but the memory and the length of the run: 8 GB's own row has another length, batch and checkpointing.
    resumed = vramwise(
        "train", "--device", "cpu", "--out_dir", parts, "--resume", "--vram", "6", *MARGIN, "--max_steps", "4"
    )
    assert resumed.returncode == 0, resumed.stderr
    second = run_file(parts)
    assert second["step"]["micro_batch"] != first["step"]["micro_batch"]
    assert second["step"]["checkpointed_blocks"] != first["step"]["checkpointed_blocks"]
    assert second["step"]["seq_len"] == first["step"]["seq_len"] == 64
    assert second["effective_batch"] == first["effective_batch"] == 16
    assert second["optimizer"] == first["optimizer"]
    assert second["data"] == first["data"] and second["model"] == first["model"]
    assert second["schedule"] == {**first["schedule"], "max_steps": 4}
    assert "max_steps 2 -> 4" in resumed.stderr
    assert resumed.stderr.count("ATTENTION") == 1

    expected, continued = weights(whole, 4), weights(parts, 4)
    assert expected.keys() == continued.keys()
    for name, tensor in expected.items():
        # Sums in another order: rounding, three orders below what a step moves a weight by (1e-3).
        numpy.testing.assert_allclose(continued[name], tensor, atol=2e-6, err_msg=name)
    lines = [json.loads(line) for line in (parts / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["tokens"] for line in steps] == [16 * 64 * step for step in (1, 2, 3, 4)]


def test_the_same_vram_continues_to_the_bit(vramwise, corpus, tmp_path):
    flags = ["--data_dir", corpus, *SMALLEST, *SCHEDULE, *MARGIN, "--warmup_steps", "2", "--learning_rate", "1e-3"]
    constant = ["--min_learning_rate", "1e-3", "--vram", "6", "--seq_len", "64"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    stopped_after(vramwise, whole, 4, *flags, *constant)
    stopped_after(vramwise, parts, 2, *flags, *constant)
    stopped_after(vramwise, parts, 4, "--resume", "--vram", "6", *MARGIN)
    for file in ("model.safetensors", "optimizer.safetensors"):
        assert (parts / "step-000004" / file).read_bytes() == (whole / "step-000004" / file).read_bytes()


def test_flags_that_change_the_training_are_said(vramwise, corpus, tmp_path):
    out = tmp_path / "out"
    flags = ["--data_dir", corpus, *SMALLEST, *SCHEDULE, "--seq_len", "64", "--batch_size", "2"]
    stopped_after(vramwise, out, 2, *flags, "--gradient_accumulation_steps", "4")
    changed = "--seq_len 48 --batch_size 3 --gradient_accumulation_steps 2 --lr 1e-4 --max_steps 3".split()
    resumed = vramwise("train", "--device", "cpu", "--out_dir", out, "--resume", *changed)
    assert resumed.returncode == 0, resumed.stderr
    for change in ("seq_len 64 -> 48", "effective_batch 8 -> 6", "optimizer/learning_rate", "max_steps 2 -> 3"):
        assert change in resumed.stderr
    # 2 steps of 8 sequences of 64 tokens are 1024 tokens: 21.3 sequences of 48, so the 23rd is the next.
    assert "1024 tokens seen so far count as 22 sequences of 48" in resumed.stderr
    state = json.loads((out / "step-000003" / "state.json").read_text())
    assert state["sequences"] == 22 + 6
    assert state["run"]["step"]["seq_len"] == 48


def test_too_little_memory_to_continue(vramwise, corpus, tmp_path):
    out = tmp_path / "out"
    flags = ["--data_dir", corpus, *SMALLEST, *SCHEDULE, "--seq_len", "256", "--vocab_size", "8192"]
    stopped_after(vramwise, out, 1, *flags, "--batch_size", "2", "--gradient_accumulation_steps", "1")
    before = (out / "run.json").read_bytes()
    refused = vramwise("train", "--device", "cpu", "--out_dir", out, "--resume", "--vram", "0.01", *MARGIN)
    assert refused.returncode == DOES_NOT_FIT, refused.stdout + refused.stderr
    assert "sequences of 256 tokens and 2 of them a step are kept" in refused.stderr
    assert "--seq_len" in refused.stderr
    assert (out / "run.json").read_bytes() == before


def test_another_model_or_precision_is_refused(vramwise, corpus, tmp_path):
    out = tmp_path / "out"
    stopped_after(vramwise, out, 1, "--data_dir", corpus, *SMALLEST, *SCHEDULE, "--seq_len", "64", "--batch_size", "2")
    before = (out / "run.json").read_bytes()
    for flags in (["--n_layers", "3"], ["--precision", "bf16"]):
        refused = vramwise("train", "--device", "cpu", "--out_dir", out, "--resume", *flags)
        assert refused.returncode == 2, refused.stderr
        assert "--resume" in refused.stderr
    assert (out / "run.json").read_bytes() == before


def test_of_two_starts_in_one_folder_one_trains_its_own_run(program, corpus, tmp_path):
    for attempt in range(6):
        out = tmp_path / f"out-{attempt}"
        rivals = {}
        for seed in (101, 202, 303):
            words = ["train", "--device", "cpu", "--data_dir", corpus, "--out_dir", out, *SMALLEST]
            words += [
                "--eval_every",
                "0",
                "--eval_batches",
                "1",
                "--sample_tokens",
                "0",
                "--seq_len",
                "32",
                "--batch_size",
                "1",
                "--gradient_accumulation_steps",
                "1",
            ]
            words += ["--max_steps", "300", "--save_every", "100", "--seed", seed, "--json"]
            rivals[seed] = subprocess.Popen(
                [str(word) for word in [program, *words]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        ended = {seed: (rival.communicate(timeout=300), rival.returncode) for seed, rival in rivals.items()}
        won = [seed for seed, (_, code) in ended.items() if code == 0]
        assert len(won) == 1, ended
        for seed, ((_, errors), code) in ended.items():
            if seed != won[0]:
                # Its number is missing in the instant between taking the lock and writing it.
                assert code == WORLD and f"a training run in {out} is still going on" in errors
        assert run_file(out)["schedule"]["seed"] == won[0]
        state = json.loads((out / "step-000300" / "state.json").read_text())
        assert state["seed"] == won[0] and state["run"]["schedule"]["seed"] == won[0]
        assert not list(out.glob("previous-*"))

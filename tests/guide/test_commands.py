"""Every training command that is promised: planned as it stands, and trained for three steps, evaluated and saved.

Training keeps the command's own plan (micro-batch, length, accumulation, checkpointing) but shrinks the decoder's
dimensions: the named sizes would take minutes a step on a CPU. The demo trains named sizes, and
tests/dryrun/tryouts/run all of these commands on emulated cards.
"""

import json
import pathlib
import shlex
import subprocess
import sys

import pytest
from support import ROOT, SMALLEST

COMMANDS = [
    line.split(" | ")[1]
    for line in (pathlib.Path(__file__).parent / "commands.txt").read_text().splitlines()
    if not line.startswith("#")
]
TRAINING = [line for line in COMMANDS if line.startswith("python train.py")]
BACKGROUND = [line for line in COMMANDS if line.startswith("./train_background.sh")]
THREE_STEPS = [
    "--max_steps",
    "3",
    "--eval_every",
    "3",
    "--eval_batches",
    "1",
    "--save_every",
    "3",
    "--sample_tokens",
    "16",
]


@pytest.fixture
def workplace(tmp_path, corpus):
    """A folder with both data folders that the commands name."""
    (tmp_path / "synthetic_data").symlink_to(corpus)
    (tmp_path / "data").symlink_to(corpus)
    return tmp_path


def run_in(workplace, line, *more):
    program, *flags = shlex.split(line)
    interpreter = []
    if program == "python":
        interpreter = [sys.executable]
        program, *flags = flags
    return subprocess.run(
        [*interpreter, str(ROOT / program), *flags, *more],
        cwd=workplace,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def settings(report):
    lines = [line for line in report.splitlines() if (line.startswith("  ") and "  : " in line) or " : " in line]
    return {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines)}


def test_the_list_is_complete():
    assert len(TRAINING) == 36
    assert len(BACKGROUND) == 3


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_plans(vramwise, line):
    flags = shlex.split(line)
    flags = flags[flags.index("train.py") + 1 :] if "train.py" in flags else flags[1:]
    if "--data_dir" in flags:
        at = flags.index("--data_dir")
        del flags[at : at + 2]
    planned = vramwise("plan", *flags)
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.splitlines()[:3] == ["=" * 60, "VRAM Optimizer", "=" * 60]
    chosen = settings(planned.stdout)
    assert int(chosen["effective_batch_size"]) > 0
    document = json.loads(vramwise("plan", *flags, "--json").stdout)
    assert document["cards"][0]["peak"]["device_bytes"] <= document["cards"][0]["usable_bytes"]


@pytest.mark.parametrize("line", TRAINING)
def test_every_command_trains(workplace, line):
    trained = run_in(workplace, line, *SMALLEST, *THREE_STEPS)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "Optimized Configuration" in trained.stdout
    metrics = [json.loads(text) for text in (workplace / "out" / "metrics.jsonl").read_text().splitlines()]
    assert any("val_loss" in entry for entry in metrics)
    assert [entry["step"] for entry in metrics if "loss" in entry][-1] == 3
    assert list((workplace / "out").glob("step-*/model.safetensors"))


@pytest.mark.parametrize("line", BACKGROUND)
def test_every_background_command_trains(workplace, line):
    started = run_in(workplace, line, *SMALLEST, *THREE_STEPS)
    assert started.returncode == 0, started.stdout + started.stderr
    for _ in range(300):
        if list((workplace / "out").glob("step-*3/model.safetensors")):
            break
        subprocess.run(["sleep", "0.2"], check=True)
    else:
        pytest.fail((workplace / "out" / "train.log").read_text())
    stopped = run_in(workplace, "./train_background.sh --stop")
    assert "Traceback" not in stopped.stdout + stopped.stderr


def test_the_optimizer_alone_reports_from_its_own_folder():
    shown = subprocess.run(
        [sys.executable, "vram_optimizer.py"],
        cwd=ROOT / "utils",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "Detected GPUs:" in shown.stdout and "Optimized Configuration" in shown.stdout

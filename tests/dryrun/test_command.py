"""`vramwise dryrun` from outside: what it prints, and how it ends."""

import json
import os
import pathlib
import subprocess
import sys

import machine
import pytest

MIB = 1 << 20
SCRIPT = str(machine.HERE / "scripts" / "loaders.py")


@pytest.fixture(scope="module")
def vramwise():
    path = machine.library().parents[2] / "bin" / "vramwise"
    if not path.exists():
        pytest.skip("vramwise is not built beside the emulator")

    def run(*arguments):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "PYTORCH_", "VRAMWISE_"))}
        return subprocess.run(
            [path, "dryrun", *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run


def test_a_script_that_fits(vramwise):
    outcome = vramwise("--json", "--gpu", "rtx-3090", "--steps", "2", "--allow-writes", "--", sys.executable, SCRIPT)
    assert outcome.returncode == 0, outcome.stderr
    result = json.loads(outcome.stdout)
    assert result["verdict"] == "fits"
    # Two epochs of two steps of two batches, and two batches of evaluation: the script's own output is on stderr.
    assert "batches 8 evaluated 2" in outcome.stderr
    assert result["steps"] == 4
    assert result["loaders_ended_early"] == 3
    gpu = result["gpus"][0]
    parameters = (2048 * 8192 * 2 + 8192 + 2048) * 4
    assert gpu["allocated_peak"]["bytes"] >= 4 * parameters
    assert gpu["device_peak_bytes"] >= gpu["reserved_peak"]["bytes"] + gpu["context_bytes"]
    assert gpu["left_bytes"] == gpu["total_bytes"] - gpu["device_peak_bytes"]


def test_a_script_that_does_not_fit(vramwise):
    outcome = vramwise("--gpu", "rtx-2060:1gb", "--allow-writes", "--", sys.executable, SCRIPT)
    assert outcome.returncode == 3
    assert "It does not fit" in outcome.stdout
    assert "torch.OutOfMemoryError: CUDA out of memory" in outcome.stderr


def test_a_script_that_fails_by_itself(vramwise):
    outcome = vramwise(
        "--json", "--gpu", "rtx-3090", "--steps", "1", "--allow-writes", "--", sys.executable, SCRIPT, "7"
    )
    assert outcome.returncode == 7
    assert json.loads(outcome.stdout)["verdict"] == "script failed"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--gpu", "rtx-3090", "--", "true"], 2, "--allow-writes"),
        (["--gpu", "rtx-3090", "--allow-writes", "--", "true"], 5, ""),
        (["--gpu", "rtx-9999", "--allow-writes", "--", "true"], 2, "rtx-9999"),
        (["--gpu", "rtx-3090", "--allow-writes", "--", "torchrun", "x.py"], 5, "torchrun"),
        (["--gpu", "rtx-3090", "--allow-writes", "--", "/no/such/program"], 4, "/no/such/program"),
    ],
)
def test_how_it_ends_without_an_answer(vramwise, arguments, code, text):
    outcome = vramwise(*arguments)
    assert outcome.returncode == code
    assert text in outcome.stderr


def test_nothing_is_left_behind(vramwise, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    vramwise("--gpu", "rtx-3090", "--allow-writes", "--", "true")
    assert list(pathlib.Path(tmp_path).iterdir()) == []

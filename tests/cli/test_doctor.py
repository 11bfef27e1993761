"""vramwise doctor tells which PyTorch the trainer runs with: that of the environment it was built in."""

import importlib.metadata
import json

import pytest


@pytest.fixture(scope="module")
def torch_here(program):
    if not program.with_name("vramwise-train").exists():
        pytest.skip("built without the trainer")
    return importlib.metadata.version("torch").split("+")[0]


def test_the_pytorch_of_the_trainer(vramwise, torch_here):
    told = vramwise("doctor")
    assert f"vramwise-train runs with PyTorch {torch_here}" in told.stdout


def test_it_stands_in_the_bundle(vramwise, torch_here, tmp_path):
    made = vramwise("doctor", "--bundle", tmp_path / "bundle.json")
    assert made.returncode == 0, made.stderr
    bundle = json.loads((tmp_path / "bundle.json").read_text())
    assert bundle["torch_version"].split("+")[0] == torch_here

"""utils/calibrate.py as far as it goes without a GPU: its refusals, and that the planner reads what it writes."""

import importlib.util
import json
import pathlib
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def calibrate():
    spec = importlib.util.spec_from_file_location("calibrate", ROOT / "utils" / "calibrate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def torch_with(cards, seconds=1.0):
    """As much of torch as is asked before anything is measured, and a clock."""

    class Event:
        def __init__(self, enable_timing):
            pass

        def record(self):
            pass

        synchronize = record

        def elapsed_time(self, _end):
            return seconds * 1e3

    cuda = types.SimpleNamespace(
        is_available=lambda: cards > 0,
        device_count=lambda: cards,
        set_device=lambda _index: None,
        get_device_name=lambda _index: "A card",
        empty_cache=lambda: None,
        Event=Event,
        OutOfMemoryError=MemoryError,
    )
    return types.SimpleNamespace(cuda=cuda, __version__="2")


@pytest.mark.parametrize(("cards", "index", "said"), [(0, 0, "no CUDA GPU"), (2, 2, "no GPU 2; PyTorch sees 2")])
def test_without_the_card_it_says_so_and_writes_nothing(calibrate, tmp_path, cards, index, said):
    with pytest.raises(calibrate.CannotMeasureError, match=said):
        calibrate.calibrate(torch_with(cards), index, tmp_path / "rates.json")
    assert not list(tmp_path.iterdir())


def test_the_best_size_counts_and_those_without_room_do_not(calibrate):
    def no_room():
        raise MemoryError

    torch = torch_with(1, seconds=2.0)
    assert calibrate.best(torch, [(10, lambda: int), (30, lambda: int), (90, no_room)]) == 15
    with pytest.raises(calibrate.CannotMeasureError, match="no memory free"):
        calibrate.best(torch, [(90, no_room)])
    with pytest.raises(calibrate.CannotMeasureError, match="stands still"):
        calibrate.best(torch_with(1, seconds=0.0), [(10, lambda: int)])


def test_the_planner_reads_what_was_written(calibrate, vramwise, tmp_path, monkeypatch):
    rates = {"matmul_16bit_tflop_s": 12.5, "attention_16bit_tflop_s": 6.0, "bandwidth_gb_s": 200.0, "pcie_gb_s": 12.0}
    monkeypatch.setattr(calibrate, "measure", lambda _torch: rates)
    file = tmp_path / "rates.json"
    file.write_text("an earlier one")
    calibrate.calibrate(torch_with(1), 0, file)
    assert json.loads(file.read_text())["matmul_16bit_tflop_s"] == 12.5
    assert [path.name for path in tmp_path.iterdir()] == ["rates.json"]
    ended = vramwise("plan", "--model_size", "medium", "--gpu", "rtx-3090", "--calibration", file, "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["time"]["rates_from"] == "the calibration file"
    with pytest.raises(calibrate.CannotMeasureError, match="no folder"):
        calibrate.calibrate(torch_with(1), 0, tmp_path / "nowhere" / "rates.json")

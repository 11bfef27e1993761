"""What `vramwise dryrun` reports: phases, parts of the peak, files, a search. Sizes are computed from shapes."""

import json
import os
import pickle
import subprocess
import sys
from html.parser import HTMLParser

import machine
import pytest

MIB = 1 << 20
SCRIPT = str(machine.HERE / "scripts" / "phases.py")
WEIGHTS = 4 * 2 * 1024 * 4096 * 4


@pytest.fixture(scope="module")
def vramwise():
    path = machine.emulator().parents[2] / "bin" / "vramwise"
    if not path.exists():
        pytest.skip("vramwise is not built beside the emulator")

    def run(*arguments):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "PYTORCH_", "VRAMWISE_"))}
        return subprocess.run(
            [path, "dryrun", *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    outcome = run("--gpu", "rtx-3090", "--", "true")
    run.writes = ["--allow-writes"] if "--allow-writes" in outcome.stderr else []
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def outcome(vramwise, folder):
    files = ["--snapshot", folder / "snapshot.pickle", "--html", folder / "report.html"]
    command = [sys.executable, SCRIPT, folder / "model.pt"]
    return vramwise("--json", "--gpu", "rtx-3090", *files, *vramwise.writes, "--", *command)


@pytest.fixture(scope="module")
def report(outcome):
    assert outcome.returncode == 0, outcome.stderr
    return json.loads(outcome.stdout)


@pytest.fixture(scope="module")
def seen(outcome):
    """What the script printed."""
    return json.loads(next(line for line in outcome.stderr.splitlines() if line.startswith('{"steps"')))


def test_loaders_end_sooner_after_two_epochs(seen, report):
    assert seen["steps"] == report["steps"] == 3 + 3 + 18
    assert seen["batches"] == 3


def test_every_phase_has_its_own_peak(seen, report):
    gpu = report["gpus"][0]
    phases = {phase["name"]: phase for phase in gpu["phases"]}
    assert list(phases) == ["load", "forward", "backward", "optimizer step", "evaluation", "checkpoint save"]
    assert report["phases_not_reached"] == []
    peak = {name: phase["allocated_peak"]["bytes"] for name, phase in phases.items()}
    assert peak["load"] == seen["loaded"] + 64 * MIB  # a peak that the program itself reset
    assert max(peak["forward"], peak["backward"], peak["optimizer step"]) == seen["trained"]
    assert peak["evaluation"] == seen["evaluated"]
    assert peak["checkpoint save"] == seen["now"]
    # Weights, gradients, two states; three temporaries for one matrix after the other; a workspace for each thread.
    assert peak["optimizer step"] == 4 * WEIGHTS + 3 * 16 * MIB + 2 * 8_519_680


def test_the_program_does_not_notice_that_peaks_are_read(seen):
    assert seen["trained"] >= 4 * WEIGHTS
    assert seen["after_reset"] < seen["trained"]


def test_the_parts_of_the_peak_add_up(report):
    gpu = report["gpus"][0]
    parts = gpu["at_peak"]["parts_bytes"]
    assert sum(parts.values()) == gpu["device_peak_bytes"]
    assert parts["weights"] == WEIGHTS
    assert parts["gradients"] == WEIGHTS
    assert parts["optimizer states"] == pytest.approx(2 * WEIGHTS, abs=MIB)
    assert parts["CUDA context"] == gpu["context_bytes"]


def test_tensors_have_names_and_lines(report):
    largest = report["gpus"][0]["at_peak"]["largest"]
    assert len(largest) <= 10
    weights = [t for t in largest if t["owner"] == "weights"]
    assert {t["name"] for t in weights} <= {"*.up.weight", "*.down.weight"}
    assert all(t["count"] == 4 and t["bytes"] == 16 * MIB for t in weights)
    assert all(t["line"].startswith("phases.py:") for t in weights)


def test_the_snapshot_is_pytorchs(report, folder):
    snapshot = pickle.loads((folder / "snapshot.pickle").read_bytes())
    assert {"segments", "device_traces"} <= snapshot.keys()
    assert len(snapshot["device_traces"][0]) > 100
    assert report["verdict"] == "fits"


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.areas, self.text, self.loads = [], [], "", []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta",):
            self.open.append(tag)
        attributes = dict(attrs)
        if tag == "polygon":
            self.areas.append([tuple(map(float, p.split(","))) for p in attributes["points"].split()])
        self.loads += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.usefixtures("report")
def test_the_page_draws_the_timeline(folder):
    page = Page()
    page.feed((folder / "report.html").read_text())
    page.close()
    assert page.open == []
    assert page.loads == []
    assert len(page.areas) == 9
    assert all(0 <= y <= 321 for area in page.areas for _, y in area)
    assert "optimizer states" in page.text
    assert "NVIDIA GeForce RTX 3090" in page.text


def test_what_does_not_fit_is_measured_beyond(vramwise, tmp_path):
    command = [sys.executable, SCRIPT, tmp_path / "model.pt"]
    outcome = vramwise("--json", "--gpu", "rtx-2060:0.6gb", *vramwise.writes, "--", *command)
    assert outcome.returncode == 3
    report = json.loads(outcome.stdout)
    assert report["verdict"] == "does not fit"
    beyond = report["beyond"][0]
    assert beyond["device_peak_bytes"] > report["gpus"][0]["total_bytes"]
    assert beyond["at_peak"]["parts_bytes"]["weights"] == WEIGHTS


def test_fit_finds_the_largest_value(vramwise, tmp_path):
    """A script that takes 100 MiB a unit, on a card of 2 GB."""
    script = tmp_path / "units.py"
    script.write_text(
        "import sys, torch\n"
        "n = int(sys.argv[sys.argv.index('--n') + 1])\n"
        "x = [torch.empty(100 << 20, dtype=torch.uint8, device='cuda') for _ in range(n)]\n"
    )
    command = [sys.executable, script, "--n", "3"]
    outcome = vramwise("--json", "--gpu", "rtx-2060:2gb", "--fit", "--n {1..64}", *vramwise.writes, "--", *command)
    assert outcome.returncode == 0, outcome.stderr
    answer = json.loads(outcome.stdout)
    by_value = {trial["value"]: trial for trial in answer["tried"]}
    largest = answer["largest"]
    assert by_value[largest]["verdict"] == "fits"
    assert by_value[largest + 1]["verdict"] == "does not fit"
    assert by_value[largest]["gpus"][0]["left_bytes"] < 100 * MIB
    assert answer["is_monotonic"]
    assert len(by_value) <= 8


@pytest.mark.parametrize("function", [[], pytest.param(["function"], marks=pytest.mark.sweep)])
def test_compiled_programs_have_phases_and_see_no_hooks(vramwise, function):
    command = [sys.executable, machine.HERE / "scripts" / "compiled.py", *function]
    outcome = vramwise("--json", "--gpu", "rtx-3090", *vramwise.writes, "--", *command)
    assert outcome.returncode == 0, outcome.stderr
    assert "hook" not in outcome.stderr
    assert "graphs 2" in outcome.stderr  # one with gradients, one without
    report = json.loads(outcome.stdout)
    expected = ["load", "forward", "backward", "optimizer step"] + (["evaluation"] if not function else [])
    assert [phase["name"] for phase in report["gpus"][0]["phases"]] == expected
    parts = report["gpus"][0]["at_peak"]["parts_bytes"]
    assert parts["weights"] == 2 * 2 * 256 * 1024 * 4 + 2 * (1024 + 256) * 4

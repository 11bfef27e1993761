"""What `vramwise dryrun` reports: phases, parts of the peak, files, a search. Sizes are computed from shapes."""

import json
import pickle
import sys
from html.parser import HTMLParser

import machine
import pytest

MIB = 1 << 20
SCRIPT = str(machine.HERE / "scripts" / "phases.py")
WEIGHTS = 4 * 2 * 1024 * 4096 * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def outcome(dryrun, writes, folder):
    files = ["--snapshot", folder / "snapshot.pickle", "--html", folder / "report.html"]
    command = [sys.executable, SCRIPT, folder / "model.pt"]
    return dryrun("--json", "--gpu", "rtx-3090", *files, *writes, "--", *command)


@pytest.fixture(scope="module")
def report(outcome):
    assert outcome.returncode == 0, outcome.stderr
    return outcome.report


@pytest.fixture(scope="module")
def seen(outcome):
    """What the script printed."""
    return json.loads(next(line for line in outcome.stderr.splitlines() if line.startswith('{"steps"')))


def test_loaders_end_sooner_after_two_epochs(seen, report):
    assert seen["steps"] == report["steps"] == 3 + 3 + 18
    assert seen["batches"] == 3
    assert report["loaders_ended_early"] == 20 + 1


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
    # PyTorch's counters and its memory history tell of one moment.
    assert all(gpu["at_peak"][key] == gpu["allocated_peak"][key] for key in ("phase", "step"))


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


def test_threads_on_cards_of_their_own_have_their_phases(dryrun, writes, tmp_path, report):
    """Each of two that train at once has the phases, the peaks and the parts of one that trains alone."""
    command = [sys.executable, SCRIPT, tmp_path / "model.pt", "threads"]
    outcome = dryrun("--json", "--gpu", "2xrtx-3090", *writes, "--", *command)
    assert outcome.returncode == 0, outcome.stderr
    alone = report["gpus"][0]
    assert [gpu["index"] for gpu in outcome.report["gpus"]] == [0, 1]
    for gpu in outcome.report["gpus"]:
        for key in ("phases", "allocated_peak", "reserved_peak", "device_peak_bytes"):
            assert gpu[key] == alone[key], (gpu["index"], key)
        assert gpu["at_peak"]["parts_bytes"] == alone["at_peak"]["parts_bytes"]
        assert gpu["at_peak"]["phase"] == alone["at_peak"]["phase"]
    assert outcome.report["steps"] == report["steps"]
    assert "2 threads trained on cards of their own" in outcome.report["notes"][0]


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


def test_what_does_not_fit_is_measured_beyond(dryrun, writes, tmp_path):
    command = [sys.executable, SCRIPT, tmp_path / "model.pt"]
    outcome = dryrun("--json", "--gpu", "rtx-2060:0.6gb", *writes, "--", *command)
    assert outcome.returncode == 3
    report = outcome.report
    assert report["verdict"] == "does not fit"
    assert "torch.OutOfMemoryError: CUDA out of memory" in outcome.stderr
    beyond = report["beyond"][0]
    assert beyond["device_peak_bytes"] > report["gpus"][0]["total_bytes"]
    assert beyond["at_peak"]["parts_bytes"]["weights"] == WEIGHTS


def test_fit_finds_the_largest_value(dryrun, writes):
    """A program that takes 100 MiB a unit, on a card of 2 GB."""
    command = [sys.executable, machine.HERE / "scripts" / "driver_only.py", "--n", "3"]
    arguments = ["--json", "--gpu", "rtx-2060:2gb", "--fit", "--n {1..64}", *writes]
    outcome = dryrun(*arguments, "--", *command, torch=False)
    assert outcome.returncode == 0, outcome.stderr
    answer = outcome.report
    by_value = {trial["value"]: trial for trial in answer["tried"]}
    largest = answer["largest"]
    assert by_value[largest]["verdict"] == "fits"
    assert by_value[largest + 1]["verdict"] == "does not fit"
    assert by_value[largest]["gpus"][0]["left_bytes"] < 100 * MIB
    assert answer["is_monotonic"]
    assert len(by_value) <= 8


def test_lag_and_the_context_are_the_users_choice(dryrun, writes):
    """Blocks that another stream used come back later when work lags, so more is reserved (scripts/lag.py)."""
    arguments = ["--json", "--gpu", "rtx-3090", "--lag", "both", "--context_mb", "123", *writes]
    outcome = dryrun(*arguments, "--", sys.executable, machine.HERE / "scripts" / "lag.py")
    assert outcome.returncode == 0, outcome.stderr
    (at_once,), second = outcome.report["gpus"], outcome.report["with_lag"]
    (lagging,) = second["gpus"]
    assert (outcome.report["lag"], second["verdict"]) == (False, "fits")
    assert at_once["reserved_peak"]["bytes"] == 32 * MIB
    assert lagging["reserved_peak"]["bytes"] > 64 * MIB
    assert outcome.report["context_is_given"]
    for gpu in (at_once, lagging):
        assert gpu["context_bytes"] == 123 * MIB
        assert gpu["device_peak_bytes"] == gpu["reserved_peak"]["bytes"] + 123 * MIB


@pytest.mark.parametrize("kind", ["", *(pytest.param(k, marks=pytest.mark.sweep) for k in ("function", "in_place"))])
def test_compiled_programs_have_phases_and_see_no_hooks(dryrun, writes, kind):
    command = [sys.executable, machine.HERE / "scripts" / "compiled.py", *([kind] if kind else [])]
    outcome = dryrun("--json", "--gpu", "rtx-3090", *writes, "--", *command)
    assert outcome.returncode == 0, outcome.stderr
    assert "hook" not in outcome.stderr
    assert "graphs 2" in outcome.stderr  # one with gradients, one without
    report = outcome.report
    expected = ["load", "forward", "backward", "optimizer step"] + (["evaluation"] if kind != "function" else [])
    phases = {phase["name"]: phase["allocated_peak"]["bytes"] for phase in report["gpus"][0]["phases"]}
    assert list(phases) == expected
    if not kind:  # the module without its compiled wrapper, with a batch that nothing else has
        assert phases["forward"] < 8192 * 1024 * 4 < phases["evaluation"]
    parts = report["gpus"][0]["at_peak"]["parts_bytes"]
    assert parts["weights"] == 2 * 2 * 256 * 1024 * 4 + 2 * (1024 + 256) * 4

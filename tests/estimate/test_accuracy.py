"""`vramwise estimate` against dry runs: thirty training runs of real models, drawn anew each time (bench/accuracy draws
hundreds). The seed is in the message, and VRAMWISE_SEED repeats it."""

import importlib.machinery
import importlib.util
import os
import pathlib
import random
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "bench" / "accuracy"
COUNT = 30
# What keeps a run short: most of its time goes into transformers' making of layers.
LIMITS = {"largest": 4e9, "most_tokens": 8192, "cards": ["rtx-3090", "h100-80gb"]}


@pytest.fixture(scope="module")
def bench():
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    sys.path.insert(0, str(FOLDER))
    # Other tests have modules of the same names (cases, report).
    names = [path.stem for path in FOLDER.glob("*.py")]
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    loader = importlib.machinery.SourceFileLoader("accuracy_run", str(FOLDER / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    if not module.program().exists():
        pytest.skip("vramwise is not built")
    yield module
    sys.path.remove(str(FOLDER))
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)


def row(number, estimated, measured):
    return {"number": number, "estimated": estimated, "dry_run": measured, "run": {}}


def test_thirty_runs_come_out_as_in_dry_runs(bench):
    seed = int(os.environ.get("VRAMWISE_SEED", random.randrange(10**6)))
    rows = bench.series(seed, COUNT, **LIMITS)
    assert len(rows) == COUNT
    missed = bench.report.missed(rows)
    assert not missed, f"seed {seed}: {missed}\n" + "\n".join(map(bench.report.line, rows))


def test_recorded_dry_runs_are_still_estimated_rightly(bench):
    rows = bench.again(bench.read(FOLDER / "series.jsonl"))
    assert len(rows) == 487
    assert not bench.report.missed(rows), "\n".join(map(bench.report.line, rows))


def test_an_estimate_that_is_off_is_seen(bench):
    right = [row(i, {"allocated": 100, "reserved": 1000}, {"allocated": 100, "reserved": 1000}) for i in range(30)]
    assert bench.report.missed(right) == []
    low = [*right, row(30, {"allocated": 100, "reserved": 994}, {"allocated": 100, "reserved": 1000})]
    assert bench.report.missed(low) == ["reserved at most 0.5 % below"]
    high = [*right, row(30, {"allocated": 100, "reserved": 1031}, {"allocated": 100, "reserved": 1000})]
    assert bench.report.missed(high) == ["worst of reserved at most 3 %"]
    failed = [*right, row(30, {"failed": "exit code 5"}, {"allocated": 100, "reserved": 1000})]
    assert bench.report.missed(failed) == ["every run was estimated and ran"]


def test_a_stopped_series_goes_on_where_it_was(bench, tmp_path, monkeypatch):
    ran = []

    def dry_run(runs, _):
        ran.extend(runs)
        return [{"allocated": 1, "reserved": 1} for _ in runs]

    monkeypatch.setattr(bench, "dry_run", dry_run)
    monkeypatch.setattr(bench, "estimated", lambda *_: {"allocated": 1, "reserved": 1})
    path = tmp_path / "results.jsonl"
    bench.series(5, 7, path)
    path.write_text("\n".join(path.read_text().splitlines()[:4]) + "\n")
    ran.clear()
    rows = bench.series(5, 9, path)
    assert len(ran) == 5
    assert sorted(each["number"] for each in rows) == list(range(9))
    assert [each["run"] for each in sorted(rows, key=lambda each: each["number"])] == bench.cases.draw(5, 9)

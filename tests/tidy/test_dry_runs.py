"""A session of `make test` that makes too many dry runs fails."""

import os
import subprocess
import sys

import dry_runs
import pytest


@pytest.mark.parametrize(
    ("runs", "marks", "code"),
    [(dry_runs.MOST, "not sweep", 0), (dry_runs.MOST + 1, "not sweep", 1), (dry_runs.MOST + 1, "", 0)],
)
def test_too_many_dry_runs_fail_the_session(tmp_path, runs, marks, code):
    (tmp_path / "test_it.py").write_text(f"import dry_runs\ndef test_it(): dry_runs.count('it', {runs})\n")
    folder = os.path.dirname(dry_runs.__file__)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "dry_runs", "-m", marks, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": folder, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert f"{runs} dry runs" in done.stdout
    assert ("FAILED: more than" in done.stdout) == bool(code)


def test_runs_are_counted_by_what_was_printed():
    once = {"beyond": None, "value_check": None, "with_lag": None}
    assert dry_runs.runs_in(once) == 1
    assert dry_runs.runs_in({"ranks": [once, {**once, "beyond": [{}]}]}) == 3
    assert dry_runs.runs_in({"tried": [once, {**once, "value_check": {"difference": ""}}]}) == 3
    assert dry_runs.runs_told_of("vramwise: trying a\nvramwise: trying b\n") == 2
    assert dry_runs.runs_told_of("vramwise: it does not fit: once more on cards without end, to see") == 2

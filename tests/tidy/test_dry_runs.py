"""A session of `make test` that makes too many dry runs fails."""

import os
import subprocess
import sys

import dry_runs
import pytest


def session(folder, text, *arguments):
    (folder / "test_it.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "dry_runs", *arguments, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.path.dirname(dry_runs.__file__), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("runs", "mark", "code"), [(dry_runs.MOST, "", 0), (dry_runs.MOST + 1, "", 1), (dry_runs.MOST + 1, "sweep", 0)]
)
def test_too_many_dry_runs_fail_the_session(tmp_path, runs, mark, code):
    marked = f"import dry_runs, pytest\n@pytest.mark.{mark or 'slow'}\n"
    done = session(tmp_path, f"{marked}def test_it(): dry_runs.count('it', {runs})\n")
    assert done.returncode == code, done.stdout + done.stderr
    assert f"{runs} dry runs" in done.stdout
    assert ("FAILED: more than" in done.stdout) == bool(code)


def test_each_start_is_seen_however_it_is_made(tmp_path):
    """One that is not waited for, one that is not done in time, and an environment that was already there."""
    text = (
        "import os, subprocess, pytest\n"
        "environment = {**os.environ, 'VRAMWISE_X': 'libvramwise_emulator'}\n"
        "on_cards = {**os.environ, 'LD_PRELOAD': 'libvramwise_emulator.so'}\n"
        "def test_it():\n"
        "    subprocess.run(['true'], env=environment)\n"
        "    subprocess.Popen(['true'], env=on_cards, stderr=subprocess.DEVNULL).wait()\n"
        "    with pytest.raises(subprocess.TimeoutExpired):\n"
        "        subprocess.run(['sleep', '9'], env=on_cards, timeout=0.1, stderr=subprocess.DEVNULL)\n"
        "def test_that():\n"
        "    os.environ['LD_PRELOAD'] = on_cards['LD_PRELOAD']\n"
        "    os.system('true 2> /dev/null')\n"
    )
    done = session(tmp_path, text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 dry runs" in done.stdout
    assert "2  test_it.py::test_it" in done.stdout


def test_what_is_without_torch_does_not_count():
    on_cards = {"LD_PRELOAD": "/lib/libvramwise_emulator.so"}
    without = {"PYTHONPATH": f"{dry_runs.WITHOUT_TORCH}:/other"}
    dryrun = ["/bin/vramwise", "dryrun", "--gpu", "rtx-3090", "--", "python"]
    assert dry_runs.starts_one(["python", "a.py"], on_cards)
    assert not dry_runs.starts_one(["python", "a.py"], {})
    assert not dry_runs.starts_one(["python", "a.py"], {**on_cards, **without})
    assert dry_runs.starts_one(["python", "-I", "a.py"], {**on_cards, **without}), "it looks at no PYTHONPATH"
    assert dry_runs.starts_one(dryrun, {})
    assert dry_runs.starts_one(["sh", "-c", " ".join(dryrun)], {})
    assert not dry_runs.starts_one(dryrun, without)
    assert dry_runs.starts_one(["vramwise", "plan", "--gpu", "rtx-3090", "--verify"], {})
    assert not dry_runs.starts_one(["vramwise", "plan", "--gpu", "rtx-3090"], {})


def test_runs_are_counted_by_what_was_printed():
    once = {"beyond": None, "value_check": None, "with_lag": None}
    assert dry_runs.runs_in(once) == 1
    assert dry_runs.runs_in({"ranks": [once, {**once, "beyond": [{}]}]}) == 3
    assert dry_runs.runs_in({"tried": [once, {**once, "value_check": {"difference": ""}}]}) == 3
    assert dry_runs.runs_told_of("vramwise: trying a\nvramwise: trying b\n") == 2
    assert dry_runs.runs_told_of("vramwise: it does not fit: once more on cards without end, to see") == 2

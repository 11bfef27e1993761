"""Counts the dry runs of a test session. `make test` makes few of them, many cases in one; `make sweep` makes the rest.

A dry run is a process of PyTorch on emulated cards that a test starts, with its children. Each start is seen, however
it is made: Python's audit hook tells of all. One `vramwise dryrun` is several where it runs the program several times:
trials of --fit, ranks of --rank all, a second run beyond the card; those it tells of when it has ended. A program
without PyTorch takes a blink and does not count; what is declared to be without can't import it.
"""

import os
import pathlib
import sys

import pytest

MOST = 40
WITHOUT_TORCH = pathlib.Path(__file__).resolve().parent / "without_torch"

_made = {}  # of each test or fixture that started some: how many


def count(what, runs=1):
    _made[what] = _made.get(what, 0) + runs


def count_more(runs):
    """The test that runs made as many beside those whose start was seen."""
    if runs:
        count(os.environ.get("PYTEST_CURRENT_TEST", "before the tests").partition(" ")[0], runs)


def _as_text(value):
    return os.fsdecode(value) if isinstance(value, (str, bytes, os.PathLike)) else str(value)


def starts_one(arguments, environment):
    """Whether a process with these arguments and this environment (None: our own) is a dry run."""
    words = [_as_text(word) for word in ([arguments] if isinstance(arguments, (str, bytes)) else arguments or [])]
    inner = [word for text in words for word in text.split()]
    own = os.environ if environment is None else {_as_text(k): _as_text(v) for k, v in environment.items()}
    programs = [i for i, word in enumerate(inner) if pathlib.PurePath(word).name == "vramwise"]
    on_cards = "libvramwise_emulator" in own.get("LD_PRELOAD", "")
    for i in programs:
        after = set(inner[i + 1 :])
        on_cards = on_cards or "dryrun" in after or {"--verify", "--gpu"} <= after
    # Python that looks at no PYTHONPATH can import torch in spite of the declaration.
    blind = any(len(word) < 5 and word[:1] == "-" and word[1:].isalpha() and set("IES") & set(word) for word in inner)
    declared = str(WITHOUT_TORCH) in own.get("PYTHONPATH", "").split(os.pathsep)
    return on_cards and (blind or not declared)


def _listen(event, details):
    if event == "subprocess.Popen":
        _executable, arguments, _folder, environment = details
    elif event == "os.posix_spawn":
        _executable, arguments, environment = details
    elif event == "os.system":
        arguments, environment = details[0], None
    else:
        return
    if starts_one(arguments, environment):
        count_more(1)


if not getattr(sys, "vramwise_dry_runs_are_seen", False):  # a hook can't be taken away: one, whoever imports this
    sys.addaudithook(_listen)
    sys.vramwise_dry_runs_are_seen = True


def made():
    return sum(_made.values())


def runs_in(report):
    """How often `vramwise dryrun --json` ran the program, from what it printed."""
    if "tried" in report:
        return sum(runs_in(trial) for trial in report["tried"])
    if "ranks" in report:
        return sum(runs_in(rank) for rank in report["ranks"])
    return 1 + sum(bool(report[again]) for again in ("beyond", "value_check", "with_lag"))


def runs_told_of(errors):
    """The same without --json, from what it said on stderr. Each rank but the first would be missing."""
    return max(errors.count("vramwise: trying "), 1) + errors.count(" once more")


_sweeps = False


def pytest_collection_finish(session):
    """`make sweep`, which asks for the marked tests, may make as many dry runs as it likes."""
    global _sweeps
    _sweeps = any(item.get_closest_marker("sweep") for item in session.items)


def too_many():
    return made() > MOST and not _sweeps


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if too_many() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    if not made():
        return
    terminalreporter.section(f"{made()} dry runs")
    for what, runs in sorted(_made.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{runs:3}  {what}")
    if too_many():
        terminalreporter.write_line(f"FAILED: more than {MOST} dry runs; merge some, or mark them `sweep`")

"""Counts the dry runs of a test session. `make test` makes few of them, many cases in one; `make sweep` makes the rest.

A dry run is a process of PyTorch on emulated cards that a test starts, with its children. One `vramwise dryrun` is
several where it runs the program several times: trials of --fit, ranks of --rank all, a second run beyond the card.
A program without PyTorch takes a blink and does not count; what is declared to be without can't import it.
"""

import pathlib

import pytest

MOST = 40
WITHOUT_TORCH = pathlib.Path(__file__).resolve().parent / "without_torch"

_made = {}  # of each test or fixture that started some: how many


def count(what, runs=1):
    """To be called wherever a test starts a dry run."""
    _made[what] = _made.get(what, 0) + runs


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


def too_many(config):
    """`make sweep`, which asks for the marked tests, may make as many dry runs as it likes."""
    return config.option.markexpr == "not sweep" and made() > MOST


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if too_many(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if not made():
        return
    terminalreporter.section(f"{made()} dry runs")
    for what, runs in sorted(_made.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{runs:3}  {what}")
    if too_many(config):
        terminalreporter.write_line(f"FAILED: more than {MOST} dry runs; merge some, or mark them `sweep`")

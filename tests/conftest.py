"""What the tests of the command line share: the built program and a synthetic corpus."""

import os
import pathlib
import subprocess

import pytest
from dry_runs import (  # noqa: F401  (pytest finds them here)
    pytest_collection_finish,
    pytest_sessionfinish,
    pytest_terminal_summary,
)
from support import ROOT


def program_path():
    named = os.environ.get("VRAMWISE_BIN")
    candidates = (
        [pathlib.Path(named)]
        if named
        else [ROOT / "build" / preset / "bin" / "vramwise" for preset in ("dev", "release")]
    )
    for candidate in candidates:
        if candidate.exists():
            return candidate
    pytest.exit(f"no vramwise was built; looked at {[str(c) for c in candidates]}: run `make build`", returncode=4)


@pytest.fixture(scope="session")
def program():
    return program_path()


@pytest.fixture(scope="session")
def vramwise(program):
    """Runs vramwise with the given arguments; returns the finished process with its text."""

    def run(*arguments, cwd=None, env=None, timeout=300):
        words = [str(word) for word in arguments]
        return subprocess.run(
            [str(program), *words],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def corpus(vramwise, tmp_path_factory):
    """The folder of a small synthetic corpus."""
    folder = tmp_path_factory.mktemp("corpus") / "synthetic_data"
    made = vramwise("synth", "--out", folder, "--bytes", 400_000)
    assert made.returncode == 0, made.stderr
    return folder

"""The Python entries find the built program and become it: arguments, folder, exit code and signals are its own."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ECHO = '#!/bin/sh\necho "$PWD|$*"\nexit 3\n'


def program(path: Path, text: str = ECHO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the entries only, in a folder with a space in its name."""
    root = tmp_path / "a checkout"
    shutil.copytree(ROOT / "python", root / "python")
    (root / "utils").mkdir()
    shutil.copy(ROOT / "train.py", root)
    shutil.copy(ROOT / "utils" / "vram_optimizer.py", root / "utils")
    return root


def run(*command, cwd, **environment):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("VRAMWISE", "VIRTUAL_ENV"))}
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_train(checkout):
    program(checkout / "build" / "release" / "bin" / "vramwise")
    ended = run("train.py", "--vram", "16 gb", cwd=checkout)
    assert (ended.returncode, ended.stdout) == (3, f"{checkout}|train --vram 16 gb\n")


def test_train_from_another_folder(checkout, tmp_path):
    program(checkout / "build" / "release" / "bin" / "vramwise")
    ended = run(str(checkout / "train.py"), cwd=tmp_path)
    assert ended.stdout == f"{tmp_path}|train\n"


def test_the_optimizer_from_its_own_folder(checkout):
    program(checkout / "build" / "release" / "bin" / "vramwise")
    here = checkout / "utils"
    assert run("vram_optimizer.py", cwd=here).stdout == f"{here}|plan --vram_auto\n"
    assert run("vram_optimizer.py", "--vram", "24", cwd=here).stdout == f"{here}|plan --vram 24\n"


def test_the_module(checkout):
    program(checkout / "build" / "release" / "bin" / "vramwise")
    ended = run("-m", "vramwise", "detect", "--json", cwd=checkout, PYTHONPATH=str(checkout / "python"))
    assert ended.stdout == f"{checkout}|detect --json\n"


def test_which_build_is_taken(checkout, tmp_path):
    program(checkout / "build" / "dev" / "bin" / "vramwise", "#!/bin/sh\necho dev\n")
    assert run("train.py", cwd=checkout).stdout == "dev\n"
    program(checkout / "build" / "release" / "bin" / "vramwise", "#!/bin/sh\necho release\n")
    assert run("train.py", cwd=checkout).stdout == "release\n"
    named = program(tmp_path / "named", "#!/bin/sh\necho named\n")
    assert run("train.py", cwd=checkout, VRAMWISE_BIN=str(named)).stdout == "named\n"


def test_nothing_is_built(checkout):
    ended = run("train.py", cwd=checkout)
    assert ended.returncode == 4
    assert f"make -C '{checkout}' build" in ended.stderr


def test_a_named_program_that_is_none(checkout):
    ended = run("train.py", cwd=checkout, VRAMWISE_BIN="/does/not/exist")
    assert ended.returncode == 4 and "VRAMWISE_BIN is /does/not/exist" in ended.stderr


def test_a_program_for_another_machine(checkout):
    program(checkout / "build" / "release" / "bin" / "vramwise", "\x7fELF and no more")
    ended = run("train.py", cwd=checkout)
    assert ended.returncode == 4 and "could not be started" in ended.stderr and "Traceback" not in ended.stderr


def test_signals_reach_the_program(checkout):
    text = '#!/bin/sh\ntrap "echo saved; exit 130" INT\necho ready\nwhile :; do sleep 0.05; done\n'
    named = program(checkout / "waiting", text)
    child = subprocess.Popen(
        [sys.executable, "train.py"],
        cwd=checkout,
        env={**os.environ, "VRAMWISE_BIN": str(named)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=30)[0] == "saved\n"
    assert child.returncode == 130

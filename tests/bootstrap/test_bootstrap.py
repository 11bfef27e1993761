"""tools/bootstrap itself, in a checkout of its own: real venv and pip, wheels made here; faked apt, sudo and driver.

PATH holds nothing but links to the tools that the script needs and the fakes, so "missing" means a missing link.
"""

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL_TOOLS = "bash sh env dirname sort head sed grep awk find rm touch mkdir cat flock printf"
BUILD_TOOLS = "g++ make ninja ccache pkg-config"
HEADERS = """stdio.h CLI/CLI.hpp nlohmann/json.hpp fmt/core.h gtest/gtest.h gmock/gmock.h benchmark/benchmark.h
sentencepiece_processor.h"""
SM_89 = "580.82.07, NVIDIA GeForce RTX 4090, 8.9"
SM_61 = "580.82.07, NVIDIA GeForce GTX 1080, 6.1"


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


def torch_files(version: str, cuda: str) -> dict[str, str]:
    return {
        "torch/__init__.py": "raise RuntimeError('bootstrap must not import torch')\n",
        "torch/version.py": f"__version__ = '{version}'\ncuda: Optional[str] = '{cuda}'\n",
        "torch/lib/libtorch_cpu.so": "",
    }


class Checkout:
    def __init__(self, folder: Path):
        self.root = folder / "checkout"
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.wheels = folder / "wheels"
        self.headers = folder / "include"
        for made in (self.root, self.bin, self.wheels):
            made.mkdir()
        shutil.copytree(ROOT / "tools" / "devtools", self.root / "tools" / "devtools")
        for name in ("bootstrap", "check_wheel"):
            shutil.copy(ROOT / "tools" / name, self.root / "tools" / name)
        (self.root / "requirements.txt").write_text("torch==2.14.1\n")
        (self.root / "requirements-test.txt").write_text("-r requirements.txt\nhelper==1.0\n")
        for version, cuda in (("2.14.1", "13.0"), ("2.9.1", "12.6"), ("2.4.0", "12.1")):
            make_wheel(self.wheels, "torch", version, torch_files(version, cuda))
        make_wheel(self.wheels, "helper", "1.0", {"helper.py": ""})
        make_wheel(self.wheels, "helper", "0.9", {"helper.py": ""})
        for name in REAL_TOOLS.split():
            (self.bin / name).symlink_to(shutil.which(name))
        for name in BUILD_TOOLS.split():
            self.fake(name, "exit 0")
        for name in HEADERS.split():
            (self.headers / name).parent.mkdir(parents=True, exist_ok=True)
            (self.headers / name).touch()
        (self.bin / "python3").symlink_to(sys.executable if sys.prefix == sys.base_prefix else sys._base_executable)
        self.fake("cmake", "echo cmake version 3.25.1")
        self.fake("id", "echo 0")
        self.fake("df", "echo x; echo disk 999999 1 500000 1% /")
        self.fake("dpkg-query", "exit 1")
        self.fake("apt-get", f'echo "apt-get $*" >>"{self.log}"')
        self.environment = {
            "PATH": str(self.bin),
            "HOME": str(folder),
            "VRAMWISE_INCLUDE_DIRS": str(self.headers),
            "VRAMWISE_NVIDIA_PROC": str(folder / "no-driver"),
            "VRAMWISE_NVIDIA_SMI": "",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
        }

    def fake(self, name: str, body: str) -> Path:
        program = self.bin / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    def gpu(self, row: str) -> None:
        self.environment["VRAMWISE_NVIDIA_SMI"] = str(self.fake("nvidia-smi", f"echo '{row}'"))

    def run(self, *options: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(self.root / "tools" / "bootstrap"), *options],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )

    def recorded(self) -> dict[str, str]:
        lines = (self.root / "build" / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def apt_calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def environment_with(self, *requirements: str) -> Path:
        """Somebody's own environment, outside the checkout."""
        folder = self.root.parent / "theirs"
        subprocess.run([str(self.bin / "python3"), "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *requirements]
        subprocess.run(pip, env=self.environment, check=True)
        return folder


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_a_fresh_machine_then_a_second_time(checkout):
    first = checkout.run()
    assert first.returncode == 0, first.stderr
    assert "Making .venv" in first.stderr and "No NVIDIA driver" in first.stderr
    assert checkout.recorded()["torch_root"].startswith(str(checkout.root / ".venv"))
    assert checkout.apt_calls() == []
    record = (checkout.root / "build" / "environment").stat().st_mtime_ns
    shutil.rmtree(checkout.wheels)  # a second time needs no package source
    second = checkout.run()
    assert (second.returncode, second.stderr) == (0, "")
    assert (checkout.root / "build" / "environment").stat().st_mtime_ns == record

    # Another python3 in front of PATH is no reason to make the environment anew.
    python = checkout.root / ".venv" / "bin" / "python"
    before = python.lstat().st_ino
    other = checkout.root.parent / "other"
    other.mkdir()
    checkout.fake("python3.12", f'exec "{sys._base_executable}" "$@"').rename(other / "python3")
    assert checkout.run(PATH=f"{other}:{checkout.bin}").returncode == 0
    assert python.lstat().st_ino == before


def test_the_checkout_is_importable_from_its_environment(checkout):
    (checkout.root / "python" / "vramwise").mkdir(parents=True)
    (checkout.root / "python" / "vramwise" / "__init__.py").write_text("here = True\n")
    assert checkout.run().returncode == 0
    python = checkout.root / ".venv" / "bin" / "python"
    subprocess.run([str(python), "-c", "import vramwise; assert vramwise.here"], cwd="/", check=True)


def test_an_unfinished_environment_is_made_anew(checkout):
    venv = checkout.root / ".venv"

    def is_made_anew():
        ended = checkout.run()
        assert ended.returncode == 0, ended.stderr
        assert "making it anew" in ended.stderr
        assert not (checkout.root / ".venv.unfinished").exists()

    (venv / "bin").mkdir(parents=True)  # killed before anything was in it
    is_made_anew()
    (checkout.root / ".venv.unfinished").touch()  # killed while pip was at work
    is_made_anew()
    shutil.rmtree(next(venv.glob("lib/python3*/site-packages/pip")))  # killed while pip was put in
    is_made_anew()
    (venv / "bin" / "python3").unlink()  # the python it was made from is gone
    is_made_anew()
    assert checkout.run().stderr == ""


def test_a_torch_without_its_libraries_is_installed_again(checkout):
    assert checkout.run().returncode == 0
    library = Path(checkout.recorded()["torch_root"]) / "lib" / "libtorch_cpu.so"
    library.unlink()
    assert checkout.run().returncode == 0
    assert library.exists()


def test_a_folder_that_is_no_environment_is_not_touched(checkout):
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv" / "thesis.txt").write_text("years of work")
    ended = checkout.run()
    assert ended.returncode == 4 and "no virtual environment" in ended.stderr
    assert (checkout.root / ".venv" / "thesis.txt").exists()


def test_missing_packages_as_root(checkout):
    (checkout.bin / "ninja").unlink()
    (checkout.headers / "CLI" / "CLI.hpp").unlink()
    made = f"touch {checkout.bin}/ninja {checkout.headers}/CLI/CLI.hpp && chmod +x {checkout.bin}/ninja"
    checkout.fake("apt-get", f'echo "apt-get $*" >>"{checkout.log}"; case "$*" in install*) {made};; esac')
    (checkout.bin / "chmod").symlink_to(shutil.which("chmod"))
    ended = checkout.run()
    assert ended.returncode == 0, ended.stderr
    assert checkout.apt_calls() == [
        "apt-get update",
        "apt-get install -y --no-install-recommends libcli11-dev ninja-build",
    ]


def test_missing_packages_without_root(checkout):
    (checkout.bin / "ccache").unlink()
    checkout.fake("id", "echo 1000")
    ended = checkout.run()
    assert ended.returncode == 4
    assert "apt-get install -y --no-install-recommends ccache\n" in ended.stderr
    assert checkout.apt_calls() == []


def test_sudo_that_asks_for_no_password_is_used(checkout):
    (checkout.bin / "ccache").unlink()
    checkout.fake("id", "echo 1000")
    checkout.fake("apt-get", f'echo "apt-get $*" >>"{checkout.log}"; echo "exit 0" >{checkout.bin}/ccache.new')
    checkout.fake(
        "sudo",
        f'echo "sudo $*" >>"{checkout.log}"; [ "$2" = env ] && cp {checkout.bin}/make {checkout.bin}/ccache; exit 0',
    )
    (checkout.bin / "cp").symlink_to(shutil.which("cp"))
    ended = checkout.run()
    assert ended.returncode == 0, ended.stderr
    assert "sudo -n apt-get update" in checkout.apt_calls()


def test_no_root_is_needed_when_the_packages_are_there(checkout):
    checkout.fake("id", "echo 1000")
    assert checkout.run().returncode == 0


def test_apt_that_installs_nothing_is_told(checkout):
    (checkout.bin / "ccache").unlink()
    ended = checkout.run()
    assert ended.returncode == 4 and "still missing after the installation: ccache" in ended.stderr


def test_a_machine_without_python_is_told_what_to_install(checkout):
    (checkout.bin / "python3").unlink()
    checkout.fake("id", "echo 1000")
    ended = checkout.run()
    assert ended.returncode == 4 and "python3 python3-venv" in ended.stderr


def test_an_old_cmake_is_refused(checkout):
    checkout.fake("cmake", "echo cmake version 3.22.1")
    ended = checkout.run()
    assert ended.returncode == 4 and "cmake 3.22.1 is too old" in ended.stderr


def test_an_active_environment_with_a_new_enough_torch_is_used(checkout):
    theirs = checkout.environment_with("torch==2.9.1")
    ended = checkout.run(VIRTUAL_ENV=str(theirs))
    assert ended.returncode == 0, ended.stderr
    assert not (checkout.root / ".venv").exists()
    assert checkout.recorded()["torch_version"] == "2.9.1"
    assert checkout.recorded()["python"] == str(theirs / "bin" / "python")
    assert checkout.run(CONDA_PREFIX=str(theirs)).returncode == 0
    assert not (checkout.root / ".venv").exists()


def test_in_somebodys_environment_no_version_is_changed(checkout):
    theirs = checkout.environment_with("torch==2.9.1", "helper==0.9")
    assert checkout.run("--test", VIRTUAL_ENV=str(theirs)).returncode == 0
    site = next(theirs.glob("lib/python3*/site-packages"))
    assert (site / "helper-0.9.dist-info").exists()


def test_an_active_environment_with_an_old_torch_is_passed_over(checkout):
    theirs = checkout.environment_with("torch==2.4.0")
    ended = checkout.run(VIRTUAL_ENV=str(theirs))
    assert ended.returncode == 0 and "has 2.4.0 torch" in ended.stderr
    assert checkout.recorded()["torch_version"] == "2.14.1"


def test_a_card_that_the_wheel_has_no_code_for(checkout):
    checkout.gpu(SM_61)
    ended = checkout.run()
    assert ended.returncode == 0 and "torch==2.14.1+cu126" in ended.stderr and "Going on" in ended.stderr


def test_require_gpu_stops_before_torch_is_installed(checkout):
    checkout.gpu(SM_61)
    ended = checkout.run("--require-gpu")
    assert ended.returncode == 4 and "--require-gpu" in ended.stderr
    assert "Installing into" not in ended.stderr
    checkout.gpu(SM_89)
    assert checkout.run("--require-gpu").returncode == 0


def test_require_gpu_without_a_driver(checkout):
    assert checkout.run("--require-gpu").returncode == 4


def test_check_only_tells(checkout):
    (checkout.bin / "ninja").unlink()
    ended = checkout.run("--check", "--test")
    assert ended.returncode == 4
    assert "ninja-build" in ended.stderr and ".venv" in ended.stderr
    assert not (checkout.root / ".venv").exists() and checkout.apt_calls() == []


def test_a_full_disk_is_told_before_the_download(checkout):
    checkout.fake("df", "echo x; echo disk 999999 1 4000 99% /")
    ended = checkout.run()
    assert ended.returncode == 4 and "4000 MiB free" in ended.stderr and "Installing" not in ended.stderr


def test_pip_that_fails_is_told_and_can_be_repeated(checkout):
    ended = checkout.run(PIP_FIND_LINKS=str(checkout.root))
    assert ended.returncode == 4 and "pip could not install: torch==2.14.1" in ended.stderr
    again = checkout.run()
    assert again.returncode == 0 and "making it anew" not in again.stderr


def test_unknown_options_are_refused(checkout):
    ended = checkout.run("--gpu")
    assert ended.returncode == 2 and "usage" in ended.stderr

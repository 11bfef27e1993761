"""The decision of tools/devtools/wheel.py: versions, drivers, cards, and what the machine's files say."""

import stat

import pytest
from devtools import wheel
from devtools.wheel import Card, Machine, decide

DRIVER_13 = (580, 65, 6)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.14.1+cu130", (2, 14, 1)),
        ("2.9.0a0+git123", (2, 9, 0)),
        ("580.65.06", (580, 65, 6)),
        ("v12", (12,)),
        ("", ()),
        ("[N/A]", ()),
    ],
)
def test_versions_are_read(text, version):
    assert wheel.parse_version(text) == version


@pytest.mark.parametrize(
    ("version", "minimum", "holds"),
    [
        ((580, 65, 6), (580, 65, 6), True),
        ((580, 65, 5), (580, 65, 6), False),
        ((580,), (580, 65, 6), False),
        ((590,), (580, 65, 6), True),
        ((580, 126), (580, 65, 6), True),
        ((2, 10), (2, 9), True),  # numbers, not text
        ((2, 9), (2, 9, 0), True),
    ],
)
def test_versions_are_compared(version, minimum, holds):
    assert wheel.at_least(version, minimum) is holds


@pytest.mark.parametrize(
    ("cuda", "capability", "holds"),
    [
        ((13, 0), (7, 5), True),
        ((13, 0), (8, 9), True),  # an RTX 4090 runs the code for 8.6
        ((13, 0), (12, 1), True),
        ((13, 0), (6, 1), False),
        ((13, 0), (7, 0), False),
        ((13, 0), (11, 0), False),  # nothing of that major version
        ((13, 2), (8, 6), True),  # an unknown 13.x is taken for the newest we know
        ((12, 6), (6, 1), True),
        ((12, 6), (12, 0), False),
        ((11, 8), (8, 6), False),
    ],
)
def test_code_for_a_card(cuda, capability, holds):
    assert wheel.has_code(cuda, capability) is holds


@pytest.mark.parametrize(
    ("driver", "capability", "usable", "said"),
    [
        (DRIVER_13, (8, 9), True, "usable with torch 2.14.1 (CUDA 13.0), driver 580.65.06"),
        (DRIVER_13, (6, 1), False, "torch==2.14.1+cu126"),  # GTX 1080: no code
        (
            (535, 104, 5),
            (8, 6),
            False,
            "update the driver to 580.65.06 or newer, or use torch 2.14.1 built for CUDA 12.6",
        ),
        ((535, 104, 5), (6, 1), False, "use torch 2.14.1 built for CUDA 12.6"),
        ((570, 86, 15), (12, 0), False, "torch==2.9.1+cu128"),  # Blackwell under a driver for CUDA 12
        ((470, 256, 2), (8, 6), False, "update the driver to 580.65.06 or newer."),
        ((470, 256, 2), (6, 1), False, "update the driver, then use torch==2.14.1+cu126"),
        (DRIVER_13, (3, 5), False, "no torch that vramwise builds against has code for this card"),
        ((535, 104, 5), None, False, "update the driver"),
        (DRIVER_13, None, True, "compute capability is unknown"),
    ],
)
def test_one_card(driver, capability, usable, said):
    decision = decide(Machine(driver, [Card("Some Card", capability)]))
    assert decision.usable is usable
    assert said in "\n".join(decision.lines)
    assert ("on the CPU" in decision.lines[-1]) is not usable


def test_a_usable_card_beside_an_old_one_is_enough():
    decision = decide(Machine(DRIVER_13, [Card("GTX 1080", (6, 1)), Card("RTX 3090", (8, 6))]))
    assert decision.usable
    assert "GPU 0, GTX 1080" in decision.lines[0] and "no code" in decision.lines[0]
    assert "GPU 1, RTX 3090" in decision.lines[1] and "usable" in decision.lines[1]


def test_an_old_driver_without_cards_still_gets_advice():
    lines = decide(Machine((535, 104, 5))).lines
    assert "too old" in lines[0] and "update the driver to 580.65.06" in lines[1]


def test_machines_without_nvidia_and_wheels_without_cuda():
    assert "No NVIDIA driver" in decide(Machine()).lines[0]
    assert "built without CUDA" in decide(Machine(DRIVER_13), "2.10.0", None).lines[0]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n", (535, 104, 5)),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (x@y)\n", DRIVER_13),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  390.157  Wed Oct 12\n", (390, 157)),
        ("something else 1.2.3", None),
    ],
)
def test_the_kernel_modules_version_file(text, version):
    assert wheel.driver_from_proc(text) == version


def fake_smi(folder, body):
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


@pytest.fixture
def machine_files(tmp_path, monkeypatch):
    monkeypatch.setenv("VRAMWISE_NVIDIA_PROC", str(tmp_path / "version"))
    monkeypatch.setenv("VRAMWISE_NVIDIA_SMI", "")
    return tmp_path


def test_reading_a_machine_without_a_driver(machine_files):
    assert wheel.read_machine() == Machine()


def test_reading_a_machine_with_cards(machine_files, monkeypatch):
    (machine_files / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82.07  Wed\n")
    body = "echo '580.82.07, NVIDIA GeForce RTX 4090, 8.9'; echo '580.82.07, NVIDIA GeForce GTX 1080, 6.1'"
    monkeypatch.setenv("VRAMWISE_NVIDIA_SMI", fake_smi(machine_files, body))
    cards = [Card("NVIDIA GeForce RTX 4090", (8, 9)), Card("NVIDIA GeForce GTX 1080", (6, 1))]
    assert wheel.read_machine() == Machine((580, 82, 7), cards)


def test_an_nvidia_smi_that_does_not_know_compute_cap(machine_files, monkeypatch):
    body = 'case "$1" in *compute_cap*) exit 2;; esac; echo "470.256.02, Tesla K80"'
    monkeypatch.setenv("VRAMWISE_NVIDIA_SMI", fake_smi(machine_files, body))
    assert wheel.read_machine() == Machine((470, 256, 2), [Card("Tesla K80", None)])


def test_an_nvidia_smi_that_fails_leaves_what_the_kernel_says(machine_files, monkeypatch):
    (machine_files / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue\n")
    monkeypatch.setenv("VRAMWISE_NVIDIA_SMI", fake_smi(machine_files, "exit 9"))
    assert wheel.read_machine() == Machine((535, 54, 3))

"""Which torch wheel can use this machine's NVIDIA cards: read the driver and the compute capabilities, then decide.

A wheel brings its own CUDA, so two things decide: the driver must be new enough for that CUDA, and the wheel must hold
machine code for the card. Nothing here needs torch, a CUDA toolkit or a CUDA context.

Sources. Drivers: CUDA Toolkit release notes, table "minimum required driver version for CUDA minor version
compatibility". Code in the wheels: pytorch/pytorch .ci/manywheel/build_cuda.sh of the releases concerned and
pytorch/pytorch issues 157517, 172352, 190385; the list for 13.0 is what torch 2.14.1+cu130 itself answers.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

Version = tuple[int, ...]

PINNED_TORCH = "2.14.1"
PINNED_CUDA: Version = (13, 0)

# Linux driver that a wheel of this CUDA major version needs at least.
MINIMUM_DRIVER: dict[int, Version] = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}

# Compute capabilities that wheels hold machine code for, by CUDA version. Code for X.y runs on every X.z with z >= y.
CODE_FOR: dict[Version, list[Version]] = {
    (12, 6): [(5, 0), (6, 0), (7, 0), (7, 5), (8, 0), (8, 6), (9, 0)],
    (12, 8): [(7, 0), (7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)],
    (12, 9): [(7, 0), (7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)],
    (13, 0): [(7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)],
}

# Other builds that vramwise compiles against, best first: (torch version, CUDA version, what PyTorch calls it).
ALTERNATIVES: list[tuple[str, Version, str]] = [
    ("2.14.1", (12, 6), "cu126"),
    ("2.9.1", (12, 8), "cu128"),
]


def parse_version(text: str) -> Version:
    """The numbers of a dotted version; what follows them ("+cu130", "rc1", "-open") is left out. Empty: none found."""
    found = re.match(r"\s*v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def at_least(version: Version, minimum: Version) -> bool:
    """580 counts as 580.0.0, so it is below 580.65.06; 580.65.06 is at least 580."""
    width = max(len(version), len(minimum))
    return version + (0,) * (width - len(version)) >= minimum + (0,) * (width - len(minimum))


def show(version: Version) -> str:
    return ".".join(str(part) for part in version)


def show_driver(version: Version) -> str:
    """NVIDIA writes the last part of a driver's version with two digits: 580.65.06."""
    return ".".join([str(part) for part in version[:2]] + [f"{part:02d}" for part in version[2:]])


@dataclass(frozen=True)
class Card:
    name: str
    capability: Version | None = None  # None: the driver is too old to tell


@dataclass(frozen=True)
class Machine:
    driver: Version | None = None  # None: no NVIDIA driver was found
    cards: list[Card] = field(default_factory=list)


@dataclass(frozen=True)
class Decision:
    usable: bool  # at least one card can be used by the wheel asked about
    lines: list[str]  # for people


def has_code(cuda: Version, capability: Version) -> bool:
    """An unknown CUDA version is judged by the newest list of its major version that we know."""
    known = [version for version in CODE_FOR if version[0] == cuda[0]]
    archs = CODE_FOR.get(cuda[:2]) or (CODE_FOR[max(known)] if known else [])
    return any(arch[0] == capability[0] and arch[1] <= capability[1] for arch in archs)


def driver_suffices(cuda: Version, driver: Version) -> bool:
    return cuda[0] in MINIMUM_DRIVER and at_least(driver, MINIMUM_DRIVER[cuda[0]])


def alternative(machine: Machine, card: Card) -> tuple[str, str] | None:
    """Another (torch, build) that this driver and this card can use."""
    if machine.driver is None or card.capability is None:
        return None
    for torch, cuda, build in ALTERNATIVES:
        if driver_suffices(cuda, machine.driver) and has_code(cuda, card.capability):
            return torch, build
    return None


def remedy(machine: Machine, card: Card, cuda: Version) -> str:
    other = alternative(machine, card)
    update = f"update the driver to {show_driver(MINIMUM_DRIVER[cuda[0]])} or newer"
    code_is_there = card.capability is None or has_code(cuda, card.capability)
    if other:
        torch, build = other
        wheel = (
            f"torch {torch} built for CUDA {build[2:4]}.{build[4:]} (torch=={torch}+{build}, from PyTorch's own wheel "
            f"index): install it in an environment of yours, activate that and run this again"
        )
        return f"{update}, or use {wheel}" if code_is_there else f"use {wheel}"
    if code_is_there:
        return update
    later = alternative(Machine(MINIMUM_DRIVER[max(MINIMUM_DRIVER)]), card)
    if later:
        return f"update the driver, then use torch=={later[0]}+{later[1]}"
    return "no torch that vramwise builds against has code for this card"


def decide(machine: Machine, torch: str = PINNED_TORCH, cuda: Version | None = PINNED_CUDA) -> Decision:
    """Can the wheel `torch` built for `cuda` (None: a build without CUDA) use the cards of this machine?"""
    if machine.driver is None:
        return Decision(False, ["No NVIDIA driver was found: torch will compute on the CPU."])
    if cuda is None:
        return Decision(False, [f"torch {torch} was built without CUDA: it will compute on the CPU."])
    wheel = f"torch {torch} (CUDA {show(cuda)})"
    driver_ok = driver_suffices(cuda, machine.driver)
    driver = show_driver(machine.driver)
    lines, usable = [], 0
    if not driver_ok:
        needed = show_driver(MINIMUM_DRIVER[cuda[0]]) if cuda[0] in MINIMUM_DRIVER else "another version"
        lines.append(f"The NVIDIA driver {driver} is too old for {wheel}, which needs {needed} or newer.")
        if not machine.cards:
            lines.append(f"What helps: {remedy(machine, Card('any'), cuda)}.")
    for number, card in enumerate(machine.cards):
        title = f"GPU {number}, {card.name}"
        if card.capability is None:
            if driver_ok:
                usable += 1
                lines.append(f"{title}: its compute capability is unknown; assumed usable.")
            else:
                lines.append(f"{title}: {remedy(machine, card, cuda)}.")
        elif not has_code(cuda, card.capability):
            lines.append(
                f"{title}, has compute capability {show(card.capability)}, which {wheel} has no code for. "
                f"What helps: {remedy(machine, card, cuda)}."
            )
        elif not driver_ok:
            lines.append(f"{title}, compute capability {show(card.capability)}: {remedy(machine, card, cuda)}.")
        else:
            usable += 1
            lines.append(f"{title}, compute capability {show(card.capability)}: usable with {wheel}, driver {driver}.")
    if driver_ok and not machine.cards:
        lines.append(f"The NVIDIA driver {driver} is new enough for {wheel}, but no card could be listed (nvidia-smi).")
    if not usable:
        lines.append("Until then torch will compute on the CPU; planning for any card works all the same.")
    return Decision(usable > 0, lines)


def driver_from_proc(text: str) -> Version | None:
    """/proc/driver/nvidia/version; its first line names the kernel module, closed or open, and then the version."""
    found = re.search(r"Kernel Module\b.*?\b(\d+\.\d+(?:\.\d+)?)\b", text)
    return parse_version(found.group(1)) if found else None


def ask_nvidia_smi(program: str, fields: str) -> list[list[str]] | None:
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        # A sick driver can hang for long.
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return None
    return [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines() if line.strip()]


def read_machine() -> Machine:
    """Reads this machine. VRAMWISE_NVIDIA_PROC and VRAMWISE_NVIDIA_SMI name other places to look (tests use them)."""
    proc = Path(os.environ.get("VRAMWISE_NVIDIA_PROC", "/proc/driver/nvidia/version"))
    driver = None
    with contextlib.suppress(OSError):
        driver = driver_from_proc(proc.read_text(errors="replace"))
    smi = os.environ.get("VRAMWISE_NVIDIA_SMI", "nvidia-smi")
    # WSL has the program outside PATH.
    program = shutil.which(smi) or shutil.which("/usr/lib/wsl/lib/nvidia-smi") if smi else None
    if program is None:
        return Machine(driver)
    rows = ask_nvidia_smi(program, "driver_version,name,compute_cap")
    if rows is None:  # drivers before 510 don't know compute_cap
        rows = ask_nvidia_smi(program, "driver_version,name") or []
    cards = []
    for row in rows:
        driver = driver or parse_version(row[0]) or None
        capability = parse_version(row[2]) if len(row) > 2 else ()
        cards.append(Card(row[1] if len(row) > 1 else "NVIDIA GPU", capability if len(capability) == 2 else None))
    return Machine(driver, cards)

"""Running a program on emulated GPUs, for the tests of this folder."""

import json
import os
import pathlib
import signal  # noqa: F401  (for the tests)
import subprocess
import sys

import dry_runs

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GIB = 1 << 30
IN_BUILD = "lib/emulator/libvramwise_emulator.so"
SANITIZED = ("asan", "ubsan", "tsan")
# Another PyTorch than the tests' own runs the scripts where this names its python.
PYTHON = os.environ.get("VRAMWISE_TEST_PYTHON", sys.executable)

# Figures for tests; total_bytes is what cudaMemGetInfo reported on such a card, context_bytes a round figure.
CARDS = {
    "turing": {"name": "Test card 7.5", "capability": "7.5", "total_bytes": 8 * GIB, "sm_count": 30},
    "ampere": {"name": "Test card 8.6", "capability": "8.6", "total_bytes": 24 * GIB, "sm_count": 82},
    "ada": {"name": "Test card 8.9", "capability": "8.9", "total_bytes": 24 * GIB, "sm_count": 128},
    "hopper": {"name": "Test card 9.0", "capability": "9.0", "total_bytes": 80 * GIB, "sm_count": 132},
    "blackwell": {"name": "Test card 12.0", "capability": "12.0", "total_bytes": 32 * GIB, "sm_count": 170},
    "pascal": {"name": "Test card 6.1", "capability": "6.1", "total_bytes": 8 * GIB, "sm_count": 20},
}
for card in CARDS.values():
    card.update(context_bytes=400 << 20, nvml_total_bytes=card["total_bytes"] + (512 << 20))


def emulator():
    """VRAMWISE_EMULATOR, the one beside VRAMWISE_BIN, or the newest of this tree that is built without a sanitizer."""
    if path := os.environ.get("VRAMWISE_EMULATOR"):
        return pathlib.Path(path)
    if program := os.environ.get("VRAMWISE_BIN"):
        path = pathlib.Path(program).parents[1] / IN_BUILD
        return path if path.exists() else None
    built = [path for path in ROOT.glob(f"build/*/{IN_BUILD}") if path.parents[2].name not in SANITIZED]
    return max(built, key=lambda path: path.stat().st_mtime, default=None)


class Outcome:
    def __init__(self, process, ledgers):
        self.code, self.out, self.err, self.ledgers = process.returncode, process.stdout, process.stderr, ledgers

    @property
    def ledger(self):
        """The ledger of the one process that used CUDA."""
        assert len(self.ledgers) == 1, f"{len(self.ledgers)} ledgers; {self.err}"
        return self.ledgers[0]

    @property
    def result(self):
        """What the script printed last, as JSON."""
        assert self.code == 0, self.err
        return json.loads(self.out.strip().splitlines()[-1])


def own_environment():
    """What is not about another run of ours, or other cards."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "PYTORCH_", "VRAMWISE_", "NCCL_"))}


def without_torch(env):
    """A program with this environment can't import torch."""
    return env | {"PYTHONPATH": os.pathsep.join([str(dry_runs.WITHOUT_TORCH), env.get("PYTHONPATH", "")]).rstrip(":")}


def environment(cards, ledgers, env=None, machine=None, torch=True):
    """The environment of a program on emulated `cards` (keys of CARDS, or dicts). `torch`: whether it imports it."""
    description = {"cards": [CARDS[c] if isinstance(c, str) else c for c in cards], **(machine or {})}
    full = own_environment() | {
        "LD_PRELOAD": str(emulator()),
        "LD_LIBRARY_PATH": f"{emulator().parent}:{os.environ.get('LD_LIBRARY_PATH', '')}",
        "TRITON_LIBCUDA_PATH": str(emulator().parent),
        "VRAMWISE_GPUS": json.dumps(description),
        "VRAMWISE_LEDGER_DIR": str(ledgers),
        **(env or {}),
    }
    return full if torch else without_torch(full)


def run(command, cards, folder, env=None, machine=None, timeout=600, torch=True):
    """Runs `command` (a list, or the name of a script in scripts/) on emulated `cards`; `torch`: it imports torch."""
    if isinstance(command, str):
        command = [PYTHON, str(HERE / "scripts" / command)]
    ledgers = pathlib.Path(folder) / "ledgers"
    ledgers.mkdir(exist_ok=True)
    for old in ledgers.iterdir():
        old.unlink()
    full = environment(cards, ledgers, env, machine, torch)
    process = subprocess.run(command, env=full, capture_output=True, text=True, timeout=timeout, check=False)
    return Outcome(process, [json.loads(p.read_text()) for p in sorted(ledgers.glob("ledger.*.json"))])


def program():
    """vramwise beside the emulator; None where it is not built."""
    path = emulator().parents[2] / "bin" / "vramwise"
    return path if path.exists() else None


def dryrun(*arguments, torch=True, cwd=None, env=None, timeout=600):
    """`vramwise dryrun` with these arguments, finished; `report` is what it printed with --json."""
    own = own_environment() | (env or {})
    done = subprocess.run(
        [program(), "dryrun", *map(str, arguments)],
        env=own if torch else without_torch(own),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    try:
        done.report = json.loads(done.stdout)
    except json.JSONDecodeError:  # text for people, or an error
        done.report = None
    if torch:
        dry_runs.count_more((dry_runs.runs_in(done.report) if done.report else dry_runs.runs_told_of(done.stderr)) - 1)
    return done

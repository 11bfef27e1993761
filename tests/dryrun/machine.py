"""Running a program on emulated GPUs, for the tests of this folder."""

import json
import os
import pathlib
import signal  # noqa: F401  (for the tests)
import subprocess
import sys

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


def environment(cards, ledgers, env=None, machine=None):
    """The environment of a program on emulated `cards` (keys of CARDS, or dicts)."""
    description = {"cards": [CARDS[c] if isinstance(c, str) else c for c in cards], **(machine or {})}
    own = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "PYTORCH_", "VRAMWISE_", "NCCL_"))}
    return own | {
        "LD_PRELOAD": str(emulator()),
        "LD_LIBRARY_PATH": f"{emulator().parent}:{os.environ.get('LD_LIBRARY_PATH', '')}",
        "TRITON_LIBCUDA_PATH": str(emulator().parent),
        "VRAMWISE_GPUS": json.dumps(description),
        "VRAMWISE_LEDGER_DIR": str(ledgers),
        **(env or {}),
    }


def run(command, cards, folder, env=None, machine=None, timeout=600):
    """Runs `command` (a list, or the name of a script in scripts/) on emulated `cards`."""
    if isinstance(command, str):
        command = [PYTHON, str(HERE / "scripts" / command)]
    ledgers = pathlib.Path(folder) / "ledgers"
    ledgers.mkdir(exist_ok=True)
    for old in ledgers.iterdir():
        old.unlink()
    full = environment(cards, ledgers, env, machine)
    process = subprocess.run(command, env=full, capture_output=True, text=True, timeout=timeout, check=False)
    return Outcome(process, [json.loads(p.read_text()) for p in sorted(ledgers.glob("ledger.*.json"))])

"""A driver on emulated cards: the published run's, out of the project's catalogue, and what the driver printed."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MIB = 1 << 20
CONTEXT_BYTES = 440 * MIB  # reserved and allocated do not hang on it; a device figure is compared less its own context


@dataclass(frozen=True)
class Outcome:
    figures: dict | None
    ledger: dict | None
    why: str  # the last words of a driver that failed


def emulator() -> Path:
    if path := os.environ.get("VRAMWISE_EMULATOR"):
        return Path(path)
    built = sorted(ROOT.glob("build/*/lib/emulator/libvramwise_emulator.so"), key=lambda path: path.stat().st_mtime)
    if not built:
        raise SystemExit("no emulator: build it first (make build, or cmake --build … --target emulator_library)")
    return built[-1]


def card(identifier: str) -> dict:
    with (ROOT / "src/gpus/data/gpus.csv").open() as rows:
        row = next(row for row in csv.DictReader(rows) if row["id"] == identifier)
    return {
        "name": row["name"],
        "capability": row["compute"],
        "total_bytes": int(row["cuda_total_mib"]) * MIB,
        "nvml_total_bytes": int(row["nvml_total_mib"]) * MIB,
        "sm_count": int(row["units"]),
        "context_bytes": CONTEXT_BYTES,
    }


def run(command: list[str], identifier: str, count: int, environment: dict, log: Path, timeout_s: int) -> Outcome:
    library = emulator()
    with tempfile.TemporaryDirectory() as ledgers:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "PYTORCH_", "VRAMWISE_"))} | {
            "LD_PRELOAD": str(library),
            "LD_LIBRARY_PATH": f"{library.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}",
            "TRITON_LIBCUDA_PATH": str(library.parent),
            "VRAMWISE_GPUS": json.dumps({"cards": [card(identifier)] * count}),
            "VRAMWISE_LEDGER_DIR": ledgers,
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "WANDB_MODE": "offline",
            **environment,
        }
        try:
            with log.open("w") as out:
                code = subprocess.run(
                    command, env=env, stdout=out, stderr=subprocess.STDOUT, timeout=timeout_s, check=False
                ).returncode
        except subprocess.TimeoutExpired:
            return Outcome(None, None, f"not done after {timeout_s} s")
        written = [json.loads(path.read_text()) for path in Path(ledgers).glob("ledger.*.json")]
    lines = log.read_text(errors="replace").strip().splitlines()
    figures = next((json.loads(line) for line in reversed(lines) if line.startswith('{"allocated"')), None)
    if figures is None:
        return Outcome(None, None, f"exit code {code}: {lines[-1][:300] if lines else 'no output'}")
    used = max(written, key=lambda ledger: max(d["peak_bytes"] for d in ledger["devices"]), default=None)
    return Outcome(figures, used, "")

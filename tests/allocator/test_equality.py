"""src/allocator against PyTorch's own caching allocator, call by call, on the emulated device.

A fresh seed each time, which a failure prints; VRAMWISE_SEED repeats one, VRAMWISE_ALLOCATOR_CALLS sets the number of
calls a card (make sweep: 100,000).
"""

import json
import os
import pathlib
import random

import machine
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CALLS = int(os.environ.get("VRAMWISE_ALLOCATOR_CALLS", "10000"))
SEED = int(os.environ.get("VRAMWISE_SEED", random.SystemRandom().randrange(1 << 31)))

# Every setting is in one of these; the others, alone and in other company, are in make sweep.
SETTINGS = [
    "",
    "max_split_size_mb:20,max_non_split_rounding_mb:64,roundup_power2_divisions:[1:2,4:4,64:8,>:1]",
    "garbage_collection_threshold:0.6,per_process_memory_fraction:0.8",
    "expandable_segments:True,large_segment_size_mb:12,roundup_power2_divisions:8",
]
MORE = [
    "expandable_segments:True",
    "max_split_size_mb:40",
    "max_split_size_mb:20,max_non_split_rounding_mb:64",
    "roundup_power2_divisions:4",
    "roundup_power2_divisions:[1:2,4:4,64:8,>:1]",
    "large_segment_size_mb:64,max_split_size_mb:128",
    "expandable_segments:True,max_split_size_mb:64,garbage_collection_threshold:0.7,per_process_memory_fraction:0.9",
    "expandable_segments:True,per_process_memory_fraction:0.5",
]

# Ample and tight memory: the second card runs out of it again and again.
AMPLE = machine.CARDS["hopper"]
TIGHT = machine.CARDS["ampere"] | {"total_bytes": 2 * machine.GIB}


def program():
    if path := os.environ.get("VRAMWISE_ALLOCATOR_EQUALITY"):
        return path
    built = sorted(ROOT.glob("build/*/bin/allocator_equality"), key=lambda path: path.stat().st_mtime)
    return str(built[-1]) if built else None


def compare(settings, folder, seed, calls=CALLS, timeout=3000):
    if program() is None or machine.emulator() is None:
        pytest.skip("allocator_equality and the emulator are not built here")
    env = {"PYTORCH_ALLOC_CONF": settings} if settings else {}
    command = [program(), "--calls", str(calls), "--seed", str(seed), "--segments-every", "100"]
    outcome = machine.run(command, [AMPLE, TIGHT], folder, env, timeout=timeout)
    assert outcome.code == 0, f"PYTORCH_ALLOC_CONF={settings} VRAMWISE_SEED={seed}: {outcome.err}"
    return json.loads(outcome.out.splitlines()[-1])["cards"]


@pytest.mark.parametrize(
    "settings",
    [*SETTINGS, *(pytest.param(text, marks=pytest.mark.sweep) for text in MORE)],
    ids=lambda text: text or "default",
)
def test_the_model_equals_pytorch(settings, tmp_path, record_property):
    record_property("seed", SEED)
    ample, tight = compare(settings, tmp_path, SEED)
    # The sequences must have met what they are for.
    assert ample["device_frees"] > 0 and ample["most_segments"] > 3
    assert tight["retries"] > 0, "the tight card was never full"
    assert tight["peak_allocated_bytes"] < tight["total_bytes"]
    if "expandable" not in settings:
        assert ample["peak_inactive_split_bytes"] > 0

"""Compares the tape with PyTorch on an emulated card, case by case; also a tool: what changed for another torch?

python tests/tape/compare.py --seed 7 --each 20 [--only add,mul] [--python OTHER/bin/python] [--card ampere]
"""

import argparse
import collections
import itertools
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "dryrun")]

import cases as drawn  # noqa: E402
import machine  # noqa: E402


def program():
    """tape_ops: VRAMWISE_TAPE_OPS, or the newest build."""
    if path := os.environ.get("VRAMWISE_TAPE_OPS"):
        return path
    built = sorted(ROOT.glob("build/*/bin/tape_ops"), key=lambda p: p.stat().st_mtime)
    return str(built[-1]) if built else None


def from_tape(cases, card):
    facts = machine.CARDS[card]
    capability = facts["capability"].replace(".", "")
    command = [program(), capability, str(facts["sm_count"])]
    run = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def values_environment():
    """Small tensors hold what a real card's would: models look at masks and positions."""
    paths = [str(ROOT / "src" / "values"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    # Gemma 3 makes its rotary tables in the order of a set of names, which Python's hash seed decides.
    environment["PYTHONHASHSEED"] = "0"
    if built := sorted(ROOT.glob("build/*/lib/values/*.so"), key=lambda path: path.stat().st_mtime):
        environment["VRAMWISE_VALUES_DIR"] = str(built[-1].parent)
    return environment


def from_torch(cases, card, python=sys.executable, env=None, script="torch_side.py"):
    facts = {**machine.CARDS[card], "total_bytes": 1 << 40, "nvml_total_bytes": 1 << 40}
    with tempfile.TemporaryDirectory() as folder:
        emulator = machine.emulator()
        full = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "PYTORCH_", "TORCH_"))}
        full |= {
            "LD_PRELOAD": str(emulator),
            "LD_LIBRARY_PATH": f"{emulator.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}",
            "TRITON_LIBCUDA_PATH": str(emulator.parent),
            "VRAMWISE_GPUS": json.dumps({"cards": [facts]}),
            "VRAMWISE_LEDGER_DIR": folder,
            **(env or {}),
        }
        command = [python, str(HERE / script)]
        text = json.dumps(cases)
        run = subprocess.run(command, env=full, input=text, capture_output=True, text=True, check=False, timeout=1800)
    if run.stderr:
        print(run.stderr[-int(os.environ.get("VRAMWISE_STDERR", "20000")) :], file=sys.stderr)
    assert run.stdout.strip(), f"PyTorch's side failed ({run.returncode}): {run.stderr[-2000:]}"
    return json.loads(run.stdout)


def settled(events):
    """The events with the releases between two allocations in one order. An allocator cannot tell their order: free
    neighbours become one block whichever goes first."""
    out, releases = [], []
    for event in [*events, None]:
        if event is not None and event[0] == -1:
            releases.append(event)
            continue
        out += sorted(releases)
        releases = []
        if event is not None:
            out.append(event)
    return out


def short_lived(events):
    """The numbers of allocations that are released before the next one."""
    found, last, count = set(), None, 0
    for event in events:
        if event[0] != -1:
            last, count = count, count + 1
        elif event[1] == last:
            found.add(last)
    return found


def released_at_once(events):
    """The numbers of allocations that are released by the very next event."""
    found, count = set(), 0
    for event, following in itertools.pairwise(events):
        if event[0] != -1:
            if following == [-1, count]:
                found.add(count)
            count += 1
    return found


def without(events, dropped):
    """The events without those of the allocations with these numbers."""
    out, number, count = [], {}, 0
    for event in events:
        if event[0] == -1:
            if event[1] not in dropped:
                out.append([-1, number.get(event[1], -1)])
            continue
        if count not in dropped:
            number[count] = len(number)
            out.append(event)
        count += 1
    return out


def without_scratch(events):
    """The events without allocations that are released at once, or that only such ones lie within."""
    while dropped := released_at_once(events):
        events = without(events, dropped)
    return events


def without_foreign_scratch(events, ours):
    """The events without short-lived allocations that `ours` doesn't have."""
    wanted = [event for event in ours if event[0] != -1]
    short, dropped, count, i = short_lived(events), set(), 0, 0
    for event in events:
        if event[0] == -1:
            continue
        if i < len(wanted) and event == wanted[i]:
            i += 1
        elif count in short:
            dropped.add(count)
        else:
            break
        count += 1
    return without(events, dropped)


def line(event):
    return f"-  #{event[1]}" if event[0] == -1 else f"+  {event[0]}"


def difference(tape, torch):
    """Both lists side by side, from a little before the first difference."""
    if isinstance(torch, str):
        return f"PyTorch: {torch}"
    first = next((i for i, (a, b) in enumerate(zip(tape, torch, strict=False)) if a != b), min(len(tape), len(torch)))
    rows = [f"first difference at event {first} of {len(tape)} / {len(torch)} (tape | torch)"]
    for i in range(max(0, first - 6), min(max(len(tape), len(torch)), first + 14)):
        left = line(tape[i]) if i < len(tape) else ""
        right = line(torch[i]) if i < len(torch) else ""
        rows.append(f"  {i:4} {left:24} | {right:24} {'' if left == right else '<'}")
    return "\n".join(rows)


def wrong_ones(cases, tape, torch):
    """Those that were not equal: (kind, case, difference)."""
    wrong = []
    for (kind, case), ours, theirs in zip(cases, tape, torch, strict=True):
        # Single ops are compared event by event. A block that is recomputed ends in an exception, whose frames Python
        # takes down in an order of its own; the casts that autocast keeps are in a table ordered by addresses.
        # What a convolution's kernel needs for itself only cuDNN knows.
        if kind == "conv2d" and isinstance(theirs, list):
            ours, theirs = without_scratch(ours), without_scratch(theirs)
        if (kind == "block" or "autocast" in case) and isinstance(theirs, list):
            ours, theirs = settled(ours), settled(theirs)
        if ours != theirs:
            wrong.append((kind, case, difference(ours, theirs)))
    return wrong


def compare(seed, each, card="ampere", python=sys.executable, only=None, env=None):
    """(how many cases were equal, those that were not: (kind, case, difference))."""
    cases = drawn.draw(seed, each, only)
    programs = [case for _, case in cases]
    torch = from_torch(programs, card, python, env)
    wrong = wrong_ones(cases, from_tape(programs, card), torch)
    return len(cases) - len(wrong), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--only")
    parser.add_argument("--card", default="ampere", choices=sorted(machine.CARDS))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--show", type=int, default=3, help="differences to show")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else None
    print("seed", options.seed)
    right, wrong = compare(options.seed, options.each, options.card, options.python, only)
    print(right, "equal,", len(wrong), "different:", dict(collections.Counter(kind for kind, _, _ in wrong)))
    shown = collections.Counter()
    for kind, case, text in wrong:
        shown[kind] += 1
        if shown[kind] <= options.show:
            print(f"\n{kind}: {json.dumps(case)}\n{text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

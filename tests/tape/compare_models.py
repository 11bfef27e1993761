"""Compares whole training runs on the tape with transformers on an emulated card; also a tool.

python tests/tape/compare_models.py --seed 7 --count 20 [--only llama] [--card ampere] [--python OTHER/bin/python]
                                   [--deepspeed | --zero3]
"""

import argparse
import collections
import json
import os
import random
import subprocess
import sys

import compare
import machine
import model_cases


def program():
    """tape_models: VRAMWISE_TAPE_MODELS, or the newest build."""
    if path := os.environ.get("VRAMWISE_TAPE_MODELS"):
        return path
    built = sorted(compare.ROOT.glob("build/*/bin/tape_models"), key=lambda p: p.stat().st_mtime)
    return str(built[-1]) if built else None


def from_tape(runs, card):
    facts = machine.CARDS[card]
    command = [program(), facts["capability"].replace(".", ""), str(facts["sm_count"])]
    run = subprocess.run(command, input=json.dumps(runs), capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


class Difference:
    """One run on both sides. Where the tape only estimates what a kernel needs for itself (convolutions), that memory
    is left out of the comparison, and the peaks may differ."""

    def __init__(self, run, tape, torch):
        self.run, self.tape, self.torch = run, tape, torch
        self.events = [side["events"] for side in (tape, torch)]
        if tape["estimated"]:
            ours = compare.without(tape["events"], set(tape["estimated"]))
            self.events = [ours, compare.without_foreign_scratch(torch["events"], ours)]
        self.events = [compare.settled(events) for events in self.events]
        self.same_trace = self.events[0] == self.events[1]
        self.same_peaks = all(tape[key] == torch[key] for key in ("allocated", "reserved", "pinned"))

    def equal(self):
        return self.same_trace and (self.same_peaks or bool(self.tape["estimated"]))

    def text(self):
        peaks = " ".join(f"{key} {self.tape[key]} / {self.torch[key]}" for key in ("allocated", "reserved", "pinned"))
        return f"{json.dumps(self.run)}\n{peaks}\n{compare.difference(*self.events)}"


def compared(runs, card, python=machine.PYTHON, torch=None):
    """`torch`: what PyTorch did, where that is known already."""
    if torch is None:
        torch = compare.from_torch(runs, card, python, compare.values_environment(), "model_side.py")
    return [Difference(*three) for three in zip(runs, from_tape(runs, card), torch, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--only")
    parser.add_argument("--card", default="ampere", choices=sorted(machine.CARDS))
    parser.add_argument("--python", default=machine.PYTHON)
    parser.add_argument("--deepspeed", action="store_true", help="runs under DeepSpeed, which must be installed")
    parser.add_argument("--zero3", action="store_true", help="the same with stage 3")
    parser.add_argument("--show", type=int, default=2, help="differences to show")
    options = parser.parse_args()
    print("seed", options.seed)
    one = model_cases.deepspeed if options.deepspeed else model_cases.draw_run
    if options.zero3:
        one = model_cases.zero3
    runs = model_cases.draw(options.seed, options.count, options.only.split(",") if options.only else None, one)
    results = compared(runs, options.card, options.python)
    different = [result for result in results if not result.equal()]
    kinds = collections.Counter(d.run["config"]["model_type"] for d in different)
    peaks = sum(result.same_peaks for result in results)
    print(
        f"{len(results) - len(different)} of {len(results)} equal, {peaks} with equal peaks; different: {dict(kinds)}"
    )
    for result in different[: options.show]:
        print("\n" + result.text())
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())

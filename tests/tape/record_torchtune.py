"""Runs drawn recipes under the real torchtune and keeps what they came to, one line each: the card, the run, the
versions, both peaks in bytes, and how many allocations and releases there were with a digest of them in their order.
test_torchtune.py holds the tape of today against that file, in seconds and without torchtune.

python tests/tape/record_torchtune.py --python PYTHON [--seed 20261201] [--count 32] [--results FILE]

PYTHON is one that has torchtune 0.6.1 (docs/hacking.md). A difference to the tape is told, and recorded all the same.
"""

import argparse
import hashlib
import json
import subprocess
import sys

import compare
import compare_models
import tune_cases

RESULTS = compare.HERE / "torchtune.jsonl"
VERSIONS = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in %r}))"


def outcome(side):
    """What is compared of a run on either side."""
    events = compare.settled(side["events"])
    digest = hashlib.sha256(json.dumps(events).encode()).hexdigest()
    return {"allocated": side["allocated"], "reserved": side["reserved"], "events": len(events), "digest": digest}


def output_of(*command):
    return subprocess.run(command, cwd=compare.ROOT, capture_output=True, text=True, check=True).stdout.strip()


def record(drawn, python, common):
    """A row for each pair of a card and a run. Runs of one card share a process."""
    rows = {}
    for card in sorted({card for card, _ in drawn}):
        numbers = [number for number, (other, _) in enumerate(drawn) if other == card]
        runs = [drawn[number][1] for number in numbers]
        theirs = compare.from_torch(runs, card, python, compare.values_environment(), "tune_side.py")
        for number, run, found in zip(numbers, runs, theirs, strict=True):
            row = {**common, "number": number, "card": card, "run": run}
            rows[number] = {**row, "torchtune": outcome(found)}
    return [rows[number] for number in sorted(rows)]


def differences(rows):
    """The rows whose runs come out otherwise on the tape, with what they came to there."""
    found = []
    for card in sorted({row["card"] for row in rows}):
        mine = [row for row in rows if row["card"] == card]
        ours = map(outcome, compare_models.from_tape([row["run"] for row in mine], card))
        found += [(row, other) for row, other in zip(mine, ours, strict=True) if row["torchtune"] != other]
    return found


def read(path=RESULTS):
    return [json.loads(line) for line in path.read_text().splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True)
    parser.add_argument("--seed", type=int, default=20261201)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--results", type=type(RESULTS), default=RESULTS)
    options = parser.parse_args()
    versions = json.loads(output_of(options.python, "-c", VERSIONS % (["torch", "torchtune", "torchao"],)))
    commit = output_of("git", "rev-parse", "--short", "HEAD")
    common = {"seed": options.seed, "commit": commit, "versions": versions}
    rows = record(tune_cases.draw(options.seed, options.count), options.python, common)
    options.results.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wrong = differences(rows)
    for row, ours in wrong:
        print(f"number {row['number']}: {row['torchtune']} / {ours} on the tape")
    print(f"{len(rows)} runs, {len(rows) - len(wrong)} equal on the tape")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

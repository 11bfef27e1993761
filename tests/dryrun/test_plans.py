"""Drawn plans, carried out by the trainer on emulated cards: none may run out of memory or take another amount.

Every fourth is for two unequal cards. make test draws 30 anew, in one process; make sweep runs a fixed series of 1,000
and goes on where it stopped (build/plans_sweep.jsonl).
"""

import json
import random
import subprocess

import machine
import pytest

WORKSPACES = 2 * 8320 * 1024
SMALLER = {**machine.CARDS["ampere"], "name": "Other test card 8.6", "sm_count": 68}
SWEEP_SEED, SWEEP_COUNT, PORTION = 20261130, 1000, 50
# Reserved against predicted: within 1 %, or within one segment of PyTorch's allocator, of which small models have few.
CLOSE, SEGMENT = 0.01, 2 << 20


@pytest.fixture(scope="module")
def program():
    path = machine.emulator().parents[2] / "bin" / "plans_on_card"
    if not path.exists():
        pytest.skip("plans_on_card is not built beside the emulator")
    return path


def run(program, folder, seed, first, count):
    arguments = {
        "seed": seed,
        "first": first,
        "count": count,
        "context_bytes": machine.CARDS["ampere"]["context_bytes"],
        "workspaces_bytes": WORKSPACES,
        "sm_count_0": machine.CARDS["ampere"]["sm_count"],
        "sm_count_1": SMALLER["sm_count"],
    }
    command = [str(program)] + [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    ended = machine.run(command, ["ampere", SMALLER], folder, timeout=1500)
    assert ended.code == 0, f"seed {seed}, from {first}: {ended.err[-2000:]}"
    return [json.loads(line) for line in ended.out.splitlines()]


def faults(case):
    if not case["planned"]:
        return []
    found = []
    if not case["ran"] or case["out_of_memory_events"] > 0:
        found.append("ran out of memory")
    for card in case["cards"]:
        predicted = card["predicted_reserved_bytes"]
        if predicted + machine.CARDS["ampere"]["context_bytes"] > card["usable_bytes"]:
            found.append("planned above the budget")
        measured = card["measured_reserved_bytes"]
        if abs(measured - predicted) > max(CLOSE * predicted, SEGMENT):
            found.append(f"{measured >> 20} MiB reserved, {predicted >> 20} predicted")
    return found


def judge(cases, seed):
    bad = {case["index"]: faults(case) for case in cases if faults(case)}
    planned = [case for case in cases if case["planned"]]
    errors = sorted(
        (card["measured_reserved_bytes"] - card["predicted_reserved_bytes"]) / (1 << 20)
        for case in planned
        for card in case["cards"]
    )
    print(f"reserved: {errors.count(0)} of {len(errors)} as predicted, from {errors[0]:+.0f} to {errors[-1]:+.0f} MiB")
    searched = [case for case in planned if case["strategy"] == "fastest"]
    worse = sum(case["next_larger_is_worse"] for case in searched)
    print(f"seed {seed}: {len(cases)} drawn, {len(planned)} planned; next larger worse: {worse} of {len(searched)}")
    assert not bad, f"seed {seed}: {bad}"
    assert len(planned) >= len(cases) // 3, f"seed {seed}: too few plans to say anything"
    assert worse >= 0.95 * len(searched), f"seed {seed}"


def test_drawn_plans_do_not_run_out_of_memory(program, tmp_path):
    seed = random.SystemRandom().randrange(1 << 31)
    judge(run(program, tmp_path, seed, 0, 30), seed)


@pytest.mark.sweep
def test_a_thousand_plans(program, tmp_path):
    record = machine.ROOT / "build" / "plans_sweep.jsonl"
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, cwd=machine.ROOT, capture_output=True, text=True, check=False).stdout.strip()
    lines = record.read_text().splitlines() if record.exists() else []
    known = {case["index"]: case for case in map(json.loads, lines) if case["commit"] == commit}
    for first in range(0, SWEEP_COUNT, PORTION):
        if all(index in known for index in range(first, first + PORTION)):
            continue
        with record.open("a") as file:
            for case in run(program, tmp_path, SWEEP_SEED, first, PORTION):
                known[case["index"]] = {**case, "commit": commit}
                file.write(json.dumps(known[case["index"]]) + "\n")
    judge(list(known.values()), SWEEP_SEED)

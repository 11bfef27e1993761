"""What a series came to: errors, the aims, the section of docs/accuracy.md."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict

import cases

WORST = 10


def error(row: dict, counter: str) -> float:
    """(estimated - dry run) / dry run"""
    return row["estimated"][counter] / row["dry_run"][counter] - 1


def compared(rows: list[dict]) -> list[dict]:
    return [row for row in rows if "failed" not in row["estimated"] and "failed" not in row["dry_run"]]


def failures(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row not in compared(rows)]


def equal(row: dict, counter: str) -> bool:
    return row["estimated"][counter] == row["dry_run"][counter]


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def figures(rows: list[dict]) -> dict[str, float]:
    signed = [error(row, "reserved") for row in rows]
    sizes = [abs(value) for value in signed]
    return {
        "runs": len(rows),
        "allocated_equal": sum(equal(row, "allocated") for row in rows) / len(rows),
        "reserved_equal": sum(equal(row, "reserved") for row in rows) / len(rows),
        "median": statistics.median(sizes),
        "p95": quantile(sizes, 0.95),
        "worst": max(signed, key=abs),
        "lowest": min(signed),
    }


def missed(rows: list[dict]) -> list[str]:
    found = figures(compared(rows))
    aims = {
        "every run was estimated and ran": not failures(rows),
        "allocated equal in half of the runs": found["allocated_equal"] >= 0.5,
        "median of reserved at most 0.1 %": found["median"] <= 0.001,
        "95th percentile of reserved at most 1 %": found["p95"] <= 0.01,
        "worst of reserved at most 3 %": abs(found["worst"]) <= 0.03,
        "reserved at most 0.5 % below": found["lowest"] >= -0.005,
    }
    return [aim for aim, held in aims.items() if not held]


def percent(value: float) -> str:
    return f"{100 * value:+.3f} %" if value else "0"


def line(row: dict) -> str:
    for side in ("estimated", "dry_run"):
        if "failed" in row[side]:
            return f"{row['number']}: {row['run']['name']}: {side} failed: {row[side]['failed']}"
    return (
        f"{row['number']}: {row['run']['name']}, {row['run']['card']}: allocated {percent(error(row, 'allocated'))}, "
        f"reserved {percent(error(row, 'reserved'))} of {row['dry_run']['reserved'] / 2**30:.2f} GiB"
    )


def described(run: dict) -> str:
    told = [run["precision"], run["attention"], cases.optimizer_name(run["optimizer"])]
    if run["checkpoint"]:
        told.append("checkpoint" if run["checkpoint"] is True else f"checkpoint {run['checkpoint']} layers")
    told += [name for name in ("clip", "expandable") if run[name]]
    told += [f"LoRA {run['lora']['rank']}"] if "lora" in run else []
    told += [f"{run['parallel']['kind']} over {run['parallel']['ranks']}"] if "parallel" in run else []
    return f"{run['name']}, {run['batch']} x {run['length']} x {run['accumulate']}, {', '.join(told)}, {run['card']}"


def table(rows: list[dict], key) -> list[str]:
    by_key = defaultdict(list)
    for row in rows:
        by_key[key(row["run"])].append(row)
    lines = []
    for name in sorted(by_key):
        found = figures(by_key[name])
        lines.append(
            f"| {', '.join(name)} | {found['runs']} | {found['allocated_equal']:.0%} | {found['reserved_equal']:.0%} | "
            f"{percent(found['median'])} | {percent(found['p95'])} | {percent(found['worst'])} |"
        )
    return lines


def section(rows: list[dict]) -> str:
    good = compared(rows)
    if not good:
        return "no runs"
    whole = figures(good)
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    text = [
        f"{len(good)} runs of seed {rows[0]['seed']} (commit {commits}): allocated equal to the byte in "
        f"{whole['allocated_equal']:.1%}, reserved in {whole['reserved_equal']:.1%}; error of reserved: median "
        f"{percent(whole['median'])}, 95th percentile {percent(whole['p95'])}, worst {percent(whole['worst'])}, lowest "
        f"{percent(whole['lowest'])}.",
        "",
    ]
    heading = "| family, precision, checkpointing | runs | allocated equal | reserved equal | median | 95 % | worst |"
    text += [heading, "|---|---|---|---|---|---|---|", *table(good, cases.kind), ""]
    worst = sorted(good, key=lambda row: [-abs(error(row, which)) for which in ("reserved", "allocated")])[:WORST]
    text += ["| the ten worst | allocated | reserved |", "|---|---|---|"]
    text += [
        f"| {described(row['run'])} | {percent(error(row, 'allocated'))} | {percent(error(row, 'reserved'))} |"
        for row in worst
    ]
    for row in failures(rows):
        text += ["", f"Not compared: {json.dumps(row['run'])}: {line(row)}"]
    return "\n".join(text)

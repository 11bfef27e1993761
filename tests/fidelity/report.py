"""The comparison: signed errors, per source, and the section of docs/accuracy.md."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "accuracy.md"
TITLE = "## Fidelity against published peaks"
EXPLAINED = Path(__file__).resolve().parent / "explained.json"
LARGE = 0.005  # an error beyond it needs a word on where it comes from


def published_bytes(case: dict) -> float:
    """What to compare with: a figure for the whole device less what the same document printed for the context."""
    figure = case["published"]
    return figure["value"] * figure["unit_bytes"] - figure.get("context_bytes", 0)


def counter(case: dict) -> str:
    """The published counter; allocated where none was named (those rows are kept apart)."""
    named = case["published"]["counter"]
    return {"device": "reserved", "not stated": "allocated"}.get(named, named)


def error(case: dict, row: dict, name: str | None = None) -> float:
    return row["emulated"][name or counter(case)] / published_bytes(case) - 1


def same_as_printed(case: dict, row: dict) -> bool:
    """The emulated peak, rounded as the published one was, is the same figure."""
    figure = case["published"]
    value = (row["emulated"][counter(case)] + figure.get("context_bytes", 0)) / figure["unit_bytes"]
    return round(value, figure["decimals"]) == figure["value"]


def line(case: dict, row: dict) -> str:
    if "emulated" not in row:
        return f"{case['id']}: {row.get('reason') or 'failed: ' + row['failed']}"
    figure = case["published"]
    found = (row["emulated"][counter(case)] + figure.get("context_bytes", 0)) / figure["unit_bytes"]
    same = ", the same figure" if same_as_printed(case, row) else ""
    return (
        f"{case['id']}: {counter(case)} published {figure['value']}, emulated {found:.4f}"
        f" ({error(case, row):+.2%}{same})"
    )


def summary(rows: dict) -> int:
    ran = [row for row in rows.values() if "emulated" in row]
    failed = [row for row in rows.values() if "failed" in row]
    print(f"{len(ran)} ran, {len(failed)} failed, {len(rows) - len(ran) - len(failed)} can't be run", file=sys.stderr)
    return 1 if failed else 0


def table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]]


def per_source(cases: dict, rows: list[dict]) -> list[str]:
    lines = []
    for stratum in sorted({row["stratum"] for row in rows}):
        of_it = [row for row in rows if row["stratum"] == stratum]
        errors = {row["id"]: error(cases[row["id"]], row) for row in of_it}
        worst = max(errors, key=lambda identifier: abs(errors[identifier]))
        same = sum(same_as_printed(cases[row["id"]], row) for row in of_it)
        middle = statistics.median(abs(e) for e in errors.values())
        lines.append([stratum, str(len(of_it)), str(same), f"{middle:.2%}", f"{errors[worst]:+.2%}", f"`{worst}`"])
    return table(["source", "runs", "the same figure", "median error", "worst error", "worst run"], lines)


def notes_of(rows: list[dict]) -> dict[str, str]:
    """Each remark once, under a letter: capital for what differs from the published run, small for what was assumed."""
    letters = {}
    for kind, first in (("differs", "A"), ("assumed", "a")):
        texts = sorted({text for row in rows for text in row.get(kind, [])})
        letters |= {text: chr(ord(first) + number) for number, text in enumerate(texts)}
    return letters


def up_to(case: dict, row: dict) -> str:
    """Where the longest sample came once only: the peak if it comes again (drivers/litgpt_scripts.py)."""
    figure = case["published"]
    if (more := row["emulated"].get("allocated_if_longest_again")) is None:
        return ""
    return f" *up to* {more / figure['unit_bytes']:.{figure['decimals'] + 2}f}"


def large_errors(cases: dict, rows: list[dict]) -> list[str]:
    why = json.loads(EXPLAINED.read_text())
    large = [row["id"] for row in rows if abs(error(cases[row["id"]], row)) > LARGE]
    texts: dict[str, list[str]] = {}
    for identifier in sorted(large):
        texts.setdefault(why.get(identifier, "not explained"), []).append(identifier)
    return table(
        [f"error beyond {LARGE:.1%}", "where it comes from"], [[", ".join(i), text] for text, i in texts.items()]
    )


def each_run(cases: dict, rows: list[dict], letters: dict[str, str]) -> list[str]:
    lines = []
    for row in sorted(rows, key=lambda row: (row["stratum"], row["id"])):
        case, figure = cases[row["id"]], cases[row["id"]]["published"]
        unit = {10**9: "GB", 2**30: "GiB", 2**20: "MiB"}[figure["unit_bytes"]]
        found = (row["emulated"][counter(case)] + figure.get("context_bytes", 0)) / figure["unit_bytes"]
        remarks = "".join(letters[text] for text in [*row.get("differs", []), *row.get("assumed", [])])
        lines.append(
            [
                row["id"],
                row["emulated"]["versions"]["torch"],
                counter(case),
                f"{figure['value']:.{figure['decimals']}f} {unit}",
                f"{found:.{figure['decimals'] + 2}f}{up_to(case, row)}",
                f"{error(case, row):+.2%}",
                remarks,
            ]
        )
    return table(["run", "torch", "counter", "published", "emulated", "error", "remarks"], lines)


def not_run(cases: dict, rows: dict) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for row in rows.values():
        if why := row.get("reason") or ("failed" in row and f"the run failed here: {row['failed']}"):
            reasons.setdefault(why, []).append(row["id"])
    return table(["drawn, but not run", "reason"], [[", ".join(ids), why] for why, ids in sorted(reasons.items())])


def counter_not_named(cases: dict, rows: list[dict]) -> list[str]:
    lines = []
    for row in rows:
        case = cases[row["id"]]
        cells = [
            f"{row['emulated'][name] / 2**30:.2f} ({error(case, row, name):+.1%})" for name in ("active", "reserved")
        ]
        lines.append([row["id"], f"{published_bytes(case) / 2**30:.1f}", *cells])
    return table(["run", "published, GiB", "emulated active", "emulated reserved"], lines)


def section(cases: dict, drawn: dict, rows: dict) -> str:
    ran = [row for row in rows.values() if "emulated" in row]
    named = [row for row in ran if cases[row["id"]]["published"]["counter"] != "not stated"]
    unnamed = [row for row in ran if row not in named]
    letters = notes_of(ran)
    errors = [abs(error(cases[row["id"]], row)) for row in named]
    same = sum(same_as_printed(cases[row["id"]], row) for row in named)
    inferred = sum(any("inferred" in text for text in row.get("differs", [])) for row in named)
    small = sum(e <= 0.002 for e in errors)
    dates, commits = sorted({row["date"] for row in ran}), sorted({row["commit"] for row in ran})
    lines = [
        TITLE,
        "",
        "The published run's own program, in an environment of its own versions, on emulated cards; the peak is",
        "PyTorch's own counter, the one that was published. Cases were drawn from `tests/fidelity/cases.jsonl`",
        f"({len(cases)} published figures with their sources) by `tests/fidelity/draw` (seed {drawn['seed']},",
        "stratified by source); the draw was committed before any of them was run. Weights are untouched memory,",
        "data are token sequences of the published lengths; no constant was fitted to any of them. To repeat it (a",
        "stopped run goes on; `--report` writes this section):",
        "",
        "    tests/fidelity/run --environments FOLDER --checkouts FOLDER",
        "",
        f"{len(ran)} runs ({', '.join(dates)}; emulator {', '.join(commits)}). Of the {len(named)} whose counter was",
        f"named, {same} give the figure that was printed and {small} are within 0.2 %. The remarks say what differs",
        "from the published run, and what was not published and had to be assumed. The torch of",
        f"{inferred} runs was inferred from their own figures, so they show less than the others.",
        "",
        *per_source(cases, named),
        "",
        *each_run(cases, named, letters),
        "",
        *(f"- **{letter}** {text}" for text, letter in letters.items()),
        "",
        *large_errors(cases, named),
        "",
    ]
    if unnamed:
        lines += ["Published without a word on which counter it is:", "", *counter_not_named(cases, unnamed), ""]
    return "\n".join([*lines, *not_run(cases, rows), ""])


def write(cases: dict, drawn: dict, rows: dict) -> int:
    text = DOCS.read_text()
    before, found, after = text.partition(TITLE)
    rest = after.partition("\n## ")[2] if found else ""
    parts = [
        before.rstrip("\n"),
        section(cases, drawn, rows).rstrip("\n"),
        *(["## " + rest.rstrip("\n")] if rest else []),
    ]
    DOCS.write_text("\n\n".join(parts) + "\n")
    return 0

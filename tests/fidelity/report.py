"""The comparison: signed errors, per source, and the section of docs/accuracy.md."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "accuracy.md"
BEGIN, END = "## Fidelity against published peaks", "\n## "
MIB = 1 << 20


def published_bytes(case: dict) -> float:
    """What to compare with; of a figure for the whole device, what the same document printed for the context is taken."""
    figure = case["published"]
    return figure["value"] * figure["unit_bytes"] - figure.get("context_bytes", 0)


def counter(case: dict) -> str:
    return {"device": "reserved", "not stated": "allocated"}.get(case["published"]["counter"], case["published"]["counter"])


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
    found = row["emulated"][counter(case)] / figure["unit_bytes"]
    same = ", the same figure" if same_as_printed(case, row) else ""
    return (
        f"{case['id']}: {counter(case)} published {figure['value']}, emulated {found:.4f} ({error(case, row):+.2%}{same})"
    )


def summary(cases: dict, drawn: dict, rows: dict) -> int:
    ran = [row for row in rows.values() if "emulated" in row]
    failed = [row for row in rows.values() if "failed" in row]
    print(f"{len(ran)} ran, {len(failed)} failed, {len(rows) - len(ran) - len(failed)} can't be run", file=sys.stderr)
    return 1 if failed else 0


def write(cases: dict, drawn: dict, rows: dict) -> int:
    raise NotImplementedError

"""Counts the test cases of a JUnit XML file as ctest and pytest write them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)  # names

    def __iadd__(self, other: Count) -> Count:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures
        return self


def count(path: Path) -> Count:
    """A case that errs, fails, or could not be started has failed. A file that is missing or cut off counts nothing."""
    total = Count()
    try:
        cases = ElementTree.parse(path).getroot().iter("testcase")
    except (OSError, ElementTree.ParseError):
        return total
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            total.failed += 1
            total.failures.append(f"{case.get('classname', '')}::{case.get('name', '')}")
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            total.skipped += 1
        else:
            total.passed += 1
    return total

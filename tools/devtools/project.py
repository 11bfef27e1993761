"""Where things are in this checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment_python(root: Path = ROOT) -> str:
    """The python that tools/bootstrap chose; without its record, the one that runs this."""
    try:
        for line in (root / "build" / "environment").read_text().splitlines():
            key, _, value = line.partition("=")
            if key == "python" and Path(value).exists():
                return value
    except OSError:
        pass
    return sys.executable


def files(root: Path) -> list[str]:
    """Every file that git tracks or would add, relative to root; without git, every file outside build and .venv."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        names = set(answer.split("\0")) - {""}
    except (OSError, subprocess.CalledProcessError):
        skipped = {"build", ".venv", ".git", "__pycache__"}
        found = (path.relative_to(root) for path in root.rglob("*"))
        names = {str(path) for path in found if not skipped & set(path.parts)}
    return sorted(name for name in names if (root / name).is_file())

"""The environments of the published runs: one venv each, made once, with plain pip, in a folder that the user names.

One that names a `base` has only what differs from it, which saves a second torch of 5 GB.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SPECIFICATIONS = json.loads((HERE / "environments.json").read_text())
PYTHON = (3, 11)  # the oldest torch of the published runs, 2.1.0, has no wheels for anything newer than 3.11


class Missing(Exception):
    """An environment that can't be had here, and why."""


def make(name: str, folder: Path) -> Path:
    """The Python of environment `name`; installs it where it is not complete yet (its marker says so)."""
    where, packages = folder / name, SPECIFICATIONS[name]["pip"]
    base = make(SPECIFICATIONS[name]["base"], folder) if "base" in SPECIFICATIONS[name] else None
    python, marker = where / "bin" / "python", where / "complete.json"
    if marker.exists() and json.loads(marker.read_text()) == packages:
        return python
    if sys.version_info[:2] != PYTHON:
        raise Missing(f"environments need Python {'.'.join(map(str, PYTHON))}; run this with it")
    shutil.rmtree(where, ignore_errors=True)
    print(f"installing {name}: {' '.join(packages)}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(where)], check=True)
    if base:  # what is installed there can be imported here; what is installed here comes first
        version = f"python{PYTHON[0]}.{PYTHON[1]}"
        site = where / "lib" / version / "site-packages" / "base.pth"
        site.write_text(str(base.parent.parent / "lib" / version / "site-packages") + "\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-cache-dir", *packages]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"pip could not install {name}: {done.stderr.strip().splitlines()[-1]}")
    marker.write_text(json.dumps(packages))
    return python


def checkout(name: str, folder: Path | None) -> Path:
    """The user's own checkout of a program that was never in a package registry."""
    source = {k: v for spec in SPECIFICATIONS.values() for k, v in spec.get("checkouts", {}).items()}[name]
    if folder and (folder / name).is_dir():
        return folder / name
    raise Missing(f"--checkouts has no folder {name}, a git checkout of {source}")

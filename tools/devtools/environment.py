"""Looks at the Python environment that runs this file; tools/bootstrap starts it with the python in question.

Imports nothing from that environment: importing torch takes seconds, and a half-installed one fails.

    environment.py describe     key=value lines: python, site, pip, torch_root, torch_version, torch_cuda
    environment.py missing FILE… [--any-version]     the pinned requirements of FILE… that are not there, one a line
    environment.py ruined FILE…     those that pip would take for installed, though files of theirs are missing
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
import sysconfig
from pathlib import Path


def torch_version_file(text: str) -> tuple[str, str]:
    """(version, CUDA version) out of torch/version.py; an empty string is what is not said there."""
    version = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    cuda = re.search(r"^cuda\b[^=]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return (version.group(1) if version else "", cuda.group(1) if cuda else "")


def torch_folder() -> Path | None:
    """The torch package, if it is whole: an interrupted installation leaves a folder without its libraries."""
    try:
        spec = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "lib" / "libtorch_cpu.so").exists() and (Path(place) / "version.py").exists():
            return Path(place)
    return None


def marker_holds(marker: str, python: tuple[int, int]) -> bool:
    """The one kind of environment marker that our requirement files use: python_version against a number."""
    found = re.fullmatch(r"python_version\s*(<|>=)\s*[\"'](\d+)\.(\d+)[\"']", marker.strip())
    if not found:
        raise ValueError(f"a marker that tools/devtools/environment.py doesn't know: {marker}")
    limit = (int(found.group(2)), int(found.group(3)))
    return python < limit if found.group(1) == "<" else python >= limit


def requirements(path: Path, python: tuple[int, int]) -> list[tuple[str, str]]:
    """(name, version) of every pinned line that holds for this python; follows `-r other.txt`."""
    pinned = []
    for line in path.read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            pinned += requirements(path.parent / line[3:].strip(), python)
        elif line:
            requirement, _, marker = line.partition(";")
            if not marker or marker_holds(marker, python):
                name, _, version = requirement.strip().partition("==")
                pinned.append((name, version))
    return pinned


def state(name: str, version: str, any_version: bool) -> str:
    """ "there", "missing" (absent or of another version) or "ruined"."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
    # "2.14.1" is also satisfied by the build "2.14.1+cu126".
    if not any_version and version not in (distribution.version, distribution.version.split("+")[0]):
        return "missing"
    # pip writes the list of files last.
    whole = distribution.files is not None and (name != "torch" or torch_folder() is not None)
    return "there" if whole else "ruined"


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["describe"]:
        print(f"python={sys.executable}")
        print(f"site={sysconfig.get_paths()['purelib']}")
        print(f"pip={1 if importlib.util.find_spec('pip') else 0}")
        folder = torch_folder()
        if folder:
            version, cuda = torch_version_file((folder / "version.py").read_text())
            print(f"torch_root={folder}\ntorch_version={version}\ntorch_cuda={cuda}")
        return 0
    if arguments[:1] in (["missing"], ["ruined"]):
        any_version = "--any-version" in arguments
        seen = set()
        for path in (Path(argument) for argument in arguments[1:] if not argument.startswith("--")):
            for name, version in requirements(path, sys.version_info[:2]):
                if name not in seen and state(name, version, any_version) == arguments[0]:
                    print(f"{name}=={version}" if version else name)
                seen.add(name)
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

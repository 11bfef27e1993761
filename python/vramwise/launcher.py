"""Finds the built vramwise program and becomes it.

Any python3 can run this, with or without the project's environment: the program is C++ and finds its libraries by
itself. exec, not a child process: signals, the terminal and the exit code are the program's own.
"""

import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = f"make -C {shlex.quote(str(ROOT))} build"
EXIT_WORLD = 4  # the same code that the program uses when something outside it is missing


def find_binary(root=ROOT, environment=os.environ):
    """The program's path, or None. VRAMWISE_BIN comes first, then the release build, then the developers' build."""
    if environment.get("VRAMWISE_BIN"):
        candidates = [Path(environment["VRAMWISE_BIN"])]
    else:
        candidates = [root / "build" / preset / "bin" / "vramwise" for preset in ("release", "dev")]
    for candidate in candidates:
        if candidate.is_file() and os.access(str(candidate), os.X_OK):
            return candidate.resolve()
    return None


def launch(arguments):
    """Replaces this process by `vramwise ARGUMENTS`. Returns an exit code only if that is impossible."""
    binary = find_binary()
    if binary is None:
        chosen = os.environ.get("VRAMWISE_BIN")
        if chosen:
            print(f"VRAMWISE_BIN is {chosen}, which is no program that can be run.", file=sys.stderr)
        else:
            print(f"vramwise isn't built yet. Build it with:\n  {BUILD}", file=sys.stderr)
        return EXIT_WORLD
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(str(binary), ["vramwise", *arguments])
    except OSError as error:
        print(f"{binary} could not be started: {error.strerror}. Rebuild it with:\n  {BUILD}", file=sys.stderr)
    return EXIT_WORLD

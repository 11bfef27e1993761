"""Finds what tests/dryrun has for running a program on emulated GPUs."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "dryrun"))

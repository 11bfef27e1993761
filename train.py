#!/usr/bin/env python3
"""Trains with a memory plan: `python train.py …` is `vramwise train …` (see its --help)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))
from vramwise.launcher import launch

sys.exit(launch(["train", *sys.argv[1:]]))

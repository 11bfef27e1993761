#!/usr/bin/env python3
"""Shows the memory plan without training: `vramwise plan …`. Without arguments it plans for what this machine has."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
from vramwise.launcher import launch

sys.exit(launch(["plan", *(sys.argv[1:] or ["--vram_auto"])]))

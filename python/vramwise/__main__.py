"""`python -m vramwise …` is `vramwise …`."""

import sys

from vramwise.launcher import launch

sys.exit(launch(sys.argv[1:]))

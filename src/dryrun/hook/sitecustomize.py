"""The way into a Python program for a dry run.

Python imports this module by itself when it starts, as it lies first on PYTHONPATH. It leaves the environment's own
sitecustomize in force, and hands over to the package beside it, which does nothing before the program imports torch.
"""

import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _run_hidden_sitecustomize():
    """Ours hides another one that the environment may have."""
    for folder in sys.path:
        path = os.path.join(folder or ".", "sitecustomize.py")
        if os.path.abspath(folder or ".") == _HERE or not os.path.isfile(path):
            continue
        spec = importlib.util.spec_from_file_location("sitecustomize", path)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        return


_run_hidden_sitecustomize()
if os.environ.get("VRAMWISE_LEDGER_DIR"):
    import vramwise_hook

    vramwise_hook.install()

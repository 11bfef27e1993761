"""Runs scripts of this folder one after the other in one process: `together.py NAME[:ARGUMENT…] …`.

Prints one JSON object: for each name what its main() printed, or {"error": …}.
"""

import contextlib
import importlib
import io
import json
import pathlib
import sys
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


def run(name, *arguments):
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            importlib.import_module(name).main(*arguments)
        return json.loads(out.getvalue().strip().splitlines()[-1])
    except Exception:
        return {"error": traceback.format_exc()}


print(json.dumps({word.split(":")[0]: run(*word.split(":")) for word in sys.argv[1:]}))

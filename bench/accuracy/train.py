"""Trains the runs of a file one after the other and appends a line of JSON for each to another: both peaks of PyTorch's
counters, in bytes, and seconds. Run by bench/accuracy/run inside a dry run.

    train.py RUNS.json RESULTS.jsonl
"""

import gc
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests" / "tape"))
import model_side
import torch
import torch_side


def measure(run):
    torch._C._cuda_clearCublasWorkspaces()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    begin = time.monotonic()
    with model_side.alone_in_group(run):
        model_side.train(run)
    peaks = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    return {**peaks, "seconds": round(time.monotonic() - begin, 2)}


def main(runs, results):
    torch_side.warm_up()
    for run in json.loads(pathlib.Path(runs).read_text()):
        try:
            found = measure(run)
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"[:500]}
        with open(results, "a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

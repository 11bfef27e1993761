"""PyTorch's own memory history: every allocation with the Python lines that asked for it."""

import os
import pickle

from .harmless import harmless

# A long run keeps its newest events; each takes about a kilobyte.
_MOST_EVENTS = int(os.environ.get("VRAMWISE_HISTORY_EVENTS", "400000"))


def start(torch):
    """When CUDA is initialized, and not before: a process that never uses it stays as it is."""

    @harmless  # not every allocator has a history: cudaMallocAsync
    def record():
        # Stacks of Python only: those of C++ take symbols, which take seconds.
        torch.cuda.memory._record_memory_history("all", context="alloc", stacks="python", max_entries=_MOST_EVENTS)

    if _MOST_EVENTS:
        torch.cuda._lazy_call(record)


@harmless
def write(torch, path):
    if not _MOST_EVENTS or not torch.cuda.is_initialized():
        return
    snapshot = torch.cuda.memory._snapshot()
    with open(path + ".part", "wb") as file:
        pickle.dump(snapshot, file, protocol=4)
    os.replace(path + ".part", path)

"""PyTorch's own memory history: every allocation with the Python lines that asked for it."""

import functools
import os
import pickle

from .harmless import harmless

# A long run keeps its newest events; each takes about a kilobyte.
_MOST_EVENTS = int(os.environ.get("VRAMWISE_HISTORY_EVENTS", "400000"))


def start(torch):
    """When CUDA is initialized, and not before: a process that never uses it stays as it is."""

    memory = torch.cuda.memory
    original = memory._record_memory_history

    @harmless  # not every allocator has a history: cudaMallocAsync
    def record():
        # Stacks of Python only: those of C++ take symbols, which take seconds.
        original("all", context="alloc", stacks="python", max_entries=_MOST_EVENTS)

    @functools.wraps(original)
    def asked_by_program(enabled="all", *arguments, **options):
        """Never less than we record: a stop would throw away what the report needs, and the program has its dump."""
        if enabled is None or enabled is False:
            return None
        if "max_entries" in options:
            options["max_entries"] = max(options["max_entries"], _MOST_EVENTS)
        if options.get("clear_history"):
            options["clear_history"] = False
        return original("all" if enabled == "state" else enabled, *arguments, **options)

    if _MOST_EVENTS:
        torch.cuda._lazy_call(record)
        memory._record_memory_history = asked_by_program


@harmless
def write(torch, path):
    if not _MOST_EVENTS or not torch.cuda.is_initialized():
        return
    snapshot = torch.cuda.memory._snapshot()
    with open(path + ".part", "wb") as file:
        pickle.dump(snapshot, file, protocol=4)
    os.replace(path + ".part", path)

"""What the drivers share: weights that are not there, and the figures at the end.

A driver runs in the environment of the published run, on emulated cards, with the published run's own program. It
prints its figures as JSON in the last line of its output.
"""

import importlib.metadata
import json
import sys


def versions(*packages):
    found = {}
    for name in ("torch", *packages):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def untouched_weights(meta_module, dtype):
    """A checkpoint of `meta_module` whose pages were never written: it takes no host memory, however large it is."""
    import torch

    return {name: torch.empty(value.shape, dtype=dtype) for name, value in meta_module.state_dict().items()}


def serve_weights(make, *utilities):
    """Whoever loads lit_model.pth gets `make()`: torch.load, the lazy loaders of Lit-GPT (`utilities`) and of FSDP."""
    import lightning.fabric.strategies.fsdp as fsdp
    import torch

    load = torch.load
    torch.load = lambda path, *a, **k: make() if str(path).endswith("lit_model.pth") else load(path, *a, **k)
    fsdp._lazy_load = lambda path: make()
    for module in utilities:
        module.lazy_load = lambda path: make()


def figures(device=0):
    """PyTorch's own peaks so far."""
    import torch

    stats = torch.cuda.memory_stats(device)
    return {
        "allocated": stats["allocated_bytes.all.peak"],
        "active": stats["active_bytes.all.peak"],
        "reserved": stats["reserved_bytes.all.peak"],
        "retries": stats["num_alloc_retries"],
    }


def finish(*packages, device=0, **more):
    """Prints the figures; those in `more` go before PyTorch's."""
    told = figures(device) | {"versions": versions(*packages)} | more
    sys.stdout.flush()
    print("\n" + json.dumps(told), flush=True)

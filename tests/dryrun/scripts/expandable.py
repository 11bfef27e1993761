"""Fragmentation without and with segments that can be remapped, and attention on this card; prints one JSON object."""

import json

import torch
from torch import nn


def fragmented(expandable):
    """Half of 1.2 GB is free in pieces of 12 MB: only segments that can be remapped serve the rest from it."""
    torch.cuda.memory._set_allocator_settings(f"expandable_segments:{expandable}")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    blocks = [torch.empty(3 << 20, device="cuda") for _ in range(100)]
    del blocks[::2]
    blocks.append(torch.empty(256 << 20, dtype=torch.uint8, device="cuda"))
    return {
        "reserved": torch.cuda.max_memory_reserved(),
        "allocated": torch.cuda.max_memory_allocated(),
        "expandable": [s["is_expandable"] for s in torch.cuda.memory_snapshot()],
    }


found = {"plain": fragmented(False), "remapped": fragmented(True)}
q = torch.randn(2, 4, 256, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
out = nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
out.sum().backward()
print(
    json.dumps(
        {
            **found,
            "attention": type(out.grad_fn).__name__,
            "torch": [int(x) for x in torch.__version__.split(".")[:2]],
            "cudnn": torch.backends.cudnn.version(),
        }
    )
)

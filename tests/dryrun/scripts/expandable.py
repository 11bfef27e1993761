"""Fragmentation with one allocator setting, and attention on this card; prints one JSON object."""

import json

import torch
from torch import nn

blocks = [torch.empty(3 << 20, device="cuda") for _ in range(100)]
del blocks[::2]
# Half of 1.2 GB is free in pieces of 12 MB: only segments that can be remapped serve this without new memory.
blocks.append(torch.empty(256 << 20, dtype=torch.uint8, device="cuda"))
reserved = torch.cuda.max_memory_reserved()
q = torch.randn(2, 4, 256, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
out = nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
out.sum().backward()
print(
    json.dumps(
        {
            "reserved": reserved,
            "allocated": torch.cuda.max_memory_allocated(),
            "expandable": [s["is_expandable"] for s in torch.cuda.memory_snapshot()],
            "attention": type(out.grad_fn).__name__,
            "torch": [int(x) for x in torch.__version__.split(".")[:2]],
            "cudnn": torch.backends.cudnn.version(),
        }
    )
)

"""Allocates in small steps and prints how often PyTorch's allocator had to retry or gave up."""

import json

import torch

blocks, failures = [], 0
for _ in range(8):
    try:
        blocks.append(torch.empty(64 << 20, dtype=torch.uint8, device="cuda"))
    except torch.cuda.OutOfMemoryError:
        failures += 1
stats = torch.cuda.memory_stats()
print(
    json.dumps(
        {"blocks": len(blocks), "failures": failures, "retries": stats["num_alloc_retries"], "ooms": stats["num_ooms"]}
    )
)

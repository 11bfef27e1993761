"""Three steps of a pretrained model whose weights need not be here: `pretrained.py FOLDER OF CONFIG [cpu]`."""

import resource
import sys

import torch
from transformers import AutoModelForCausalLM

on_host = len(sys.argv) > 2
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16, device_map=None if on_host else "cuda")
if not on_host:
    model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for _ in range(3):
        ids = torch.randint(0, model.config.vocab_size, (1, 1024), device="cuda")
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
print(
    f"{model.num_parameters() / 1e9:.1f} B parameters, {torch.cuda.max_memory_allocated() >> 20} MiB, "
    f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB resident"
)

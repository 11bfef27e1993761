"""Trains with gradient accumulation, evaluates, saves; prints what PyTorch says of the peaks in between."""

import json
import sys

import torch
from torch.utils.data import DataLoader, TensorDataset


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(1024, 4096, bias=False)
        self.down = torch.nn.Linear(4096, 1024, bias=False)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


torch.cuda.init()
model = torch.nn.Sequential(*(Block() for _ in range(4))).cuda()
loaded = torch.cuda.max_memory_allocated()
torch.empty(64 << 20, dtype=torch.uint8, device="cuda")
torch.cuda.reset_peak_memory_stats()  # the program forgets it, the report must not
optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
data = TensorDataset(torch.randn(4096, 1024))
steps = 0
for _ in range(20):
    for i, (x,) in enumerate(DataLoader(data, 256)):
        model(x.cuda()).square().mean().backward()
        if i % 2 == 1:
            optimizer.step()
            optimizer.zero_grad()
            steps += 1
trained = torch.cuda.max_memory_allocated()
torch.cuda.reset_peak_memory_stats()
after_reset = torch.cuda.max_memory_allocated()
model.eval()
with torch.no_grad():
    kept = [model(x.cuda()) for (x,) in DataLoader(data, 512)]
evaluated = torch.cuda.max_memory_allocated()
torch.save(model.state_dict(), sys.argv[1])
print(
    json.dumps(
        {
            "steps": steps,
            "batches": len(kept),
            "loaded": loaded,
            "trained": trained,
            "after_reset": after_reset,
            "evaluated": evaluated,
            "now": torch.cuda.memory_allocated(),
            "weights": sum(p.numel() * 4 for p in model.parameters()),
        }
    )
)

"""To be run as `python -I`: trains two steps, and starts a child with PyTorch and nothing in its environment."""

import subprocess
import sys

import torch

data = torch.utils.data.DataLoader(torch.randn(64, 256), 8)
layer = torch.nn.Linear(256, 256).cuda()
batches = 0
for x in data:
    layer(x.cuda()).sum().backward()
    batches += 1
child = "import torch, time; time.sleep(2.5); print(torch.cuda.is_available())"
seen = subprocess.run([sys.executable, "-c", child], env={}, capture_output=True, text=True, check=True).stdout.strip()
print("batches", batches, "child", seen)

"""Trains a compiled module and evaluates it, compiled and as it is. Arguments: `function` compiles a function with the
module in it, `in_place` the module itself, whose evaluation is compiled then."""

import sys

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(256, 1024), nn.Linear(1024, 256)

    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(x)))


model = nn.Sequential(Block(), Block()).cuda()
optimizer = torch.optim.SGD(model.parameters())
kind = sys.argv[1] if len(sys.argv) > 1 else ""
if kind == "function":
    loss = torch.compile(lambda x: model(x).square().mean())
else:
    compiled = model if kind == "in_place" else torch.compile(model, fullgraph=True)
    if kind == "in_place":
        model.compile(fullgraph=True)

    def loss(x):
        return compiled(x).square().mean()


for _ in range(2):
    loss(torch.randn(64, 256, device="cuda")).backward()
    optimizer.step()
    optimizer.zero_grad()
with torch.no_grad():
    loss(torch.randn(64, 256, device="cuda"))
    if not kind:
        model(torch.randn(8192, 256, device="cuda"))
print("graphs", torch._dynamo.utils.counters["stats"]["unique_graphs"])

"""Ends while a thread of the autograd engine is inside Python: it comes back when the interpreter is going away."""

import threading
import time

import torch

inside = threading.Event()


class Slow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        inside.set()
        time.sleep(0.3)
        return gradient


def train():
    Slow.apply(torch.zeros(3, device="cuda", requires_grad=True)).sum().backward()


threading.Thread(target=train, daemon=True).start()
assert inside.wait(60)
print('"done"')

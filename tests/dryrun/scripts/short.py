"""A few steps, then what was asked for: nothing, a spawned child that uses CUDA too, or waiting to be killed."""

import json
import multiprocessing
import sys
import threading
import time

import torch


def steps(count=2):
    layer = torch.nn.Linear(512, 512).cuda()
    for _ in range(count):
        layer(torch.randn(8, 512, device="cuda")).sum().backward()
    return torch.cuda.max_memory_allocated()


def child(queue):
    queue.put(steps())


if __name__ == "__main__":
    found = {"peak": steps()}
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "spawn":
        context = multiprocessing.get_context("spawn")
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        found["child"] = queue.get()
        process.join()
    if what == "threads":
        threads = [threading.Thread(target=steps, args=(20,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found["live"] = torch.cuda.memory_allocated()
    print(json.dumps(found), flush=True)
    if what == "wait":
        time.sleep(600)

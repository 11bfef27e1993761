"""A process with children that must stay inert, a fork that works and one that must fail clearly, a spawned child that
uses the card too, threads, and an end while a thread of the autograd engine is inside Python: it comes back when Python
is going away.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time


def steps(count=2):
    layer = torch.nn.Linear(512, 512).cuda()
    for _ in range(count):
        layer(torch.randn(8, 512, device="cuda")).sum().backward()
    return torch.cuda.max_memory_allocated()


def used():
    """Of the card, by whomever; and by this process's PyTorch."""
    free, total = torch.cuda.mem_get_info()
    return total - free, torch.cuda.memory_reserved()


def child(queue):
    queue.put((steps(), used()))


def forked():
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            torch.zeros(1, device="cuda")
            text = "worked"
        except Exception as error:
            text = str(error)
        os.write(write, text.encode())
        os._exit(0)
    os.wait()
    return os.read(read, 10000).decode()


def spawned():
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    found = queue.get()
    process.join()
    return found


def forked_before():
    """A child that uses CUDA before its parent does; multiprocessing ends it by os._exit."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    peak, _ = queue.get()
    process.join()
    return peak


def in_threads():
    threads = [threading.Thread(target=steps, args=(20,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def leave_a_thread_behind():
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


if __name__ == "__main__":
    quiet = subprocess.run([sys.executable, "-c", "print('child')"], capture_output=True, text=True, check=True)
import torch  # noqa: E402  (the child above starts before any torch)

if __name__ == "__main__":
    found = {"quiet": [quiet.stdout, quiet.stderr], "forked before": forked_before()}
    found |= {"peak": steps(), "forked": forked(), "before": used()}
    found["child"], found["together"] = spawned()
    found["after"] = used()
    in_threads()
    print(json.dumps(found), flush=True)
    leave_a_thread_behind()

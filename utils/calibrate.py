#!/usr/bin/env python3
"""Measures one GPU's rates and writes them for `vramwise plan --calibration FILE`.

Kernels of a few sizes each, timed by CUDA events, the best size counts: that is what the catalogue's rates are, too
(src/gpus/data/rates.csv). What a launch costs is not measured, for that of Python is not that of the trainer.
Exit codes: 0 written, 2 a wrong command line, 4 no PyTorch, no GPU, or nowhere to write.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

EXIT_WORLD = 4
SCHEMA = "vramwise.calibration"
REPEATS = 10
MATRICES = (2048, 4096, 8192)
SEQUENCES = ((8, 16, 1024, 64), (4, 16, 2048, 128), (2, 16, 4096, 64))  # batch, heads, length, width
MIB = 1 << 20


class CannotMeasureError(Exception):
    """What is missing, in words."""


def seconds_on_gpu(torch, run):
    """The median of some runs, after two that warm up."""
    for _ in range(2):
        run()
    times = []
    for _ in range(REPEATS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def seconds_on_host(run):
    run()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def best(torch, amounts_and_runs):
    """The most of something a second. Sizes that memory has no room for are left out."""
    rates = []
    for amount, make in amounts_and_runs:
        try:
            seconds = seconds_on_gpu(torch, make())
        except torch.cuda.OutOfMemoryError:
            continue
        finally:
            torch.cuda.empty_cache()
        if seconds <= 0:
            raise CannotMeasureError("this GPU's clock stands still: an emulated card has no speed")
        rates.append(amount / seconds)
    if not rates:
        raise CannotMeasureError("this GPU has no memory free for the smallest kernel that is measured")
    return max(rates)


def products(torch, kind):
    def run(n):
        def make():
            a, b = (torch.randn(n, n, device="cuda", dtype=kind) for _ in range(2))
            out = torch.empty_like(a)
            return lambda: torch.mm(a, b, out=out)

        return make

    return best(torch, ((2 * n**3, run(n)) for n in MATRICES))


def attention(torch, kind):
    """Forward and backward of causal attention: two products and five, half of each masked."""

    def run(shape):
        def make():
            q, k, v = (torch.randn(shape, device="cuda", dtype=kind, requires_grad=True) for _ in range(3))
            gradient = torch.randn(shape, device="cuda", dtype=kind)

            def step():
                out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                torch.autograd.grad(out, (q, k, v), gradient)

            return step

        return make

    return best(torch, ((7 * b * h * s * s * d, run((b, h, s, d))) for b, h, s, d in SEQUENCES))


def copies(torch, from_host):
    """Bytes a second; within the card each byte is read and written."""

    def run(size):
        def make():
            there = torch.empty(size, dtype=torch.uint8, device="cuda")
            here = torch.empty(size, dtype=torch.uint8, pin_memory=True) if from_host else torch.empty_like(there)
            return lambda: there.copy_(here, non_blocking=True)

        return make

    return best(torch, ((size * (1 if from_host else 2), run(size)) for size in (128 * MIB, 512 * MIB)))


def host_stream(torch):
    """What AdamW reads and writes in the host's memory: seven numbers of 4 bytes each."""
    count = 16 * MIB
    weights, gradients, first, second = (torch.zeros(count) for _ in range(4))
    number = torch.ones(())

    def step():
        torch._fused_adamw_(
            [weights],
            [gradients],
            [first],
            [second],
            [],
            [number],
            lr=1e-4,
            beta1=0.9,
            beta2=0.95,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    return 28 * count / seconds_on_host(step)


def measure(torch):
    half = torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    with torch.no_grad():
        rates = {
            "matmul_16bit_tflop_s": products(torch, half) / 1e12,
            "matmul_fp32_tflop_s": products(torch, torch.float32) / 1e12,
            "bandwidth_gb_s": copies(torch, from_host=False) / 1e9,
            "pcie_gb_s": copies(torch, from_host=True) / 1e9,
            "host_gb_s": host_stream(torch) / 1e9,
        }
    rates["attention_16bit_tflop_s"] = attention(torch, half) / 1e12
    rates["attention_fp32_tflop_s"] = attention(torch, torch.float32) / 1e12
    return {key: float(f"{value:.4g}") for key, value in rates.items()}


def write(path, content):
    """Appears under its name only when it is complete."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w") as file:
            file.write(json.dumps(content, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def calibrate(torch, index, path):
    if not torch.cuda.is_available():
        raise CannotMeasureError("PyTorch sees no CUDA GPU here; `vramwise doctor` says why")
    count = torch.cuda.device_count()
    if not path.parent.is_dir():
        raise CannotMeasureError(f"there is no folder {path.parent} to write into")
    if index >= count:
        raise CannotMeasureError(f"there is no GPU {index}; PyTorch sees {count}, counted from 0")
    torch.cuda.set_device(index)
    name = torch.cuda.get_device_name(index)
    print(f"measuring {name}; nothing else should run on it", file=sys.stderr)
    write(path, {"schema": SCHEMA, "card": name, "torch": torch.__version__, **measure(torch)})
    print(f"{path}: rates of {name}, for `vramwise plan --calibration {path}`")


def number_of_gpu(text):
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is no GPU")
    return number


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the file to write (docs/formats.md, calibration)")
    parser.add_argument("--gpu", type=number_of_gpu, default=0, help="CUDA's number of the GPU (default: 0)")
    options = parser.parse_args(arguments)
    try:
        import torch
    except ImportError as error:
        print(f"calibrate.py measures with PyTorch, which this python cannot import: {error}", file=sys.stderr)
        return EXIT_WORLD
    try:
        calibrate(torch, options.gpu, options.out)
    except CannotMeasureError as reason:
        print(f"nothing was measured: {reason}", file=sys.stderr)
        return EXIT_WORLD
    except OSError as error:
        print(f"cannot write {options.out}: {error.strerror}", file=sys.stderr)
        return EXIT_WORLD
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The driver without PyTorch: takes --n blocks of 100 MiB; ends with --exit CODE, or 1 where memory is short."""

import argparse
import ctypes
import json
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=1)
parser.add_argument("--exit", type=int, default=0)
options = parser.parse_args()
cuda = ctypes.CDLL("libcuda.so.1")
count, context, block = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
assert cuda.cuInit(0) == 0
cuda.cuDeviceGetCount(ctypes.byref(count))
cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
cuda.cuCtxSetCurrent(context)
for _ in range(options.n):
    if code := cuda.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(100 << 20)):
        print("cuMemAlloc failed:", code, file=sys.stderr)
        sys.exit(1)
print(json.dumps({"cards": count.value}))
sys.exit(options.exit)

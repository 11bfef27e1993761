"""PyTorch's memory counters, and the peak of each stretch of a run.

A stretch's own peak needs the counters' peaks to be reset when it begins. The program must not notice: what was reset
is remembered and put back into every answer that it gets.
"""

import ctypes
import threading
import time

from .harmless import harmless

_POOLED = ("allocated_bytes", "reserved_bytes")


class Counters:
    def __init__(self, torch):
        self.torch = torch
        self.lock = threading.RLock()
        self._before = {}  # (device, name of a counter): the peak that the program would see without our resets
        core = torch._C
        self._read, self._reset = core._cuda_memoryStats, core._cuda_resetPeakMemoryStats
        core._cuda_memoryStats = lambda device: self._as_if_not_reset(device, self._read(device))
        core._cuda_resetPeakMemoryStats = self._reset_by_program
        self.before_reset = lambda: None  # called before the program resets the peaks
        self._held = ctypes.CDLL(None).vramwise_emulator_held  # what this process holds, without what others do
        self._held.restype = ctypes.c_longlong
        self._forgotten = {}  # device: [retries, errors] that the program reset
        forget = core._cuda_resetAccumulatedMemoryStats
        core._cuda_resetAccumulatedMemoryStats = lambda device: self._forget(device, forget)
        if hasattr(core, "_accelerator_getDeviceStats"):  # torch 2.9 has the same under a general name
            read = core._accelerator_getDeviceStats
            reset = core._accelerator_resetPeakStats
            core._accelerator_getDeviceStats = lambda device: self._as_if_not_reset(device, read(device))
            forget_all = core._accelerator_resetAccumulatedStats
            core._accelerator_resetAccumulatedStats = lambda device: self._forget(device, forget_all)
            core._accelerator_resetPeakStats = lambda device: self._reset_by_program(device, reset)

    def _as_if_not_reset(self, device, stats):
        self._put_back(device, stats)
        return stats

    @harmless
    def _put_back(self, device, stats):
        for name, counter in _counters(stats):
            counter["peak"] = max(counter["peak"], self._before.get((device, name), 0))

    def _forget(self, device, reset):
        self._remember_troubles(device)
        return reset(device)

    @harmless
    def _remember_troubles(self, device):
        stats = self._read(device)
        before = self._forgotten.setdefault(device, [0, 0])
        before[0] += stats["num_alloc_retries"]
        before[1] += stats["num_ooms"]

    def _reset_by_program(self, device, reset=None):
        self.before_reset()
        for key in [key for key in self._before if key[0] == device]:
            del self._before[key]
        return (reset or self._reset)(device)

    def devices(self):
        cuda = self.torch.cuda
        return range(cuda.device_count()) if cuda.is_initialized() else ()

    def take(self, covers=lambda device: True):
        """{device: (allocated peak, reserved peak, outside, retries, errors)} since the last call, for the
        devices that it `covers`; outside is what lies on the card and is not PyTorch's."""
        taken = {}
        for device in filter(covers, self.devices()):
            stats = self._read(device)
            if not stats or not (stats["reserved_bytes"]["all"]["peak"] or stats["num_ooms"]):
                continue
            for name, counter in _counters(stats):
                self._before[device, name] = max(self._before.get((device, name), 0), counter["peak"])
            allocated, reserved = (stats[key]["all"] for key in _POOLED)
            outside = self._held(device) - reserved["current"]
            taken[device] = (
                allocated["peak"],
                reserved["peak"],
                outside,
                stats["num_alloc_retries"] + self._forgotten.get(device, (0, 0))[0],
                stats["num_ooms"] + self._forgotten.get(device, (0, 0))[1],
            )
            self._reset(device)
        return taken


def _counters(stats, prefix=()):
    """(name, {"current": …, "peak": …, …}) of all counters, which lie in some levels of dicts."""
    for key, value in stats.items():
        if isinstance(value, dict):
            if "peak" in value:
                yield (*prefix, key), value
            else:
                yield from _counters(value, (*prefix, key))


def now():
    """On the clock of PyTorch's memory history, which counts microseconds of it."""
    return time.time_ns() // 1000

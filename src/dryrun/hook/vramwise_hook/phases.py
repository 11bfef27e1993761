"""Which phase a program is in: load, forward, backward, optimizer step, evaluation, checkpoint save.

What happens after a backward pass, an optimizer step or a save belongs to whatever begins next: clipping to the
optimizer step, the next batch to the next forward pass. What follows a forward pass or an evaluation belongs to it.
"""

import os
import threading

from .counters import now
from .harmless import harmless

LOAD, FORWARD, BACKWARD = "load", "forward", "backward"
OPTIMIZER, EVALUATION, SAVE = "optimizer step", "evaluation", "checkpoint save"

_MOST_STRETCHES = 20_000


class Phases:
    def __init__(self, counters):
        self.counters = counters
        counters.before_reset = self.before_reset
        self.name, self.since, self.steps = LOAD, now(), 0
        self.follows_calls = True  # False: what follows a step is a forward pass, as nothing tells
        self.stretches = []  # [name, step, begin, end]
        self.peaks = {}  # name: {device: {"allocated": (bytes, step), "reserved": …, "device": …}}
        self.totals = {}  # device: (retries, errors)
        self.process, self.thread = os.getpid(), threading.get_ident()

    def here(self):
        """Neither in a fork nor in a thread beside the program's own."""
        return threading.get_ident() == self.thread and os.getpid() == self.process

    @harmless
    def begin(self, name):
        if name == self.name:
            return
        if self.name is not None:
            self._close()
        self.name = name

    @harmless
    def end(self):
        if self.name is not None:
            self._close()
            self.name = None

    @harmless
    def before_reset(self):
        """The program forgets its peaks; the report keeps them, for the phase that it is in or comes from."""
        if self.here():
            name = self.name
            self.name = name or (self.stretches[-1][0] if self.stretches else LOAD)
            self._close()
            self.name = name

    @harmless
    def finish(self):
        """The program's end. What came after the last phase belongs to it."""
        if self.name is None and self.stretches:
            self.name = self.stretches[-1][0]
        self.end()

    def _close(self):
        end = now()
        if len(self.stretches) < _MOST_STRETCHES:
            self.stretches.append([self.name, self.steps, self.since, end])
        self.since = end
        seen = self.peaks.setdefault(self.name, {})
        for device, (allocated, reserved, outside, retries, errors) in self.counters.take().items():
            best = seen.setdefault(device, {})
            for key, value in (("allocated", allocated), ("reserved", reserved), ("device", reserved + outside)):
                if value > best.get(key, (-1, 0))[0]:
                    best[key] = (value, self.steps)
            self.totals[device] = (retries, errors)

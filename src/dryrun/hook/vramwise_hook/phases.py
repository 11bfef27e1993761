"""Which phase a program is in: load, forward, backward, optimizer step, evaluation, checkpoint save.

What happens after a backward pass, an optimizer step or a save belongs to whatever begins next: clipping to the
optimizer step, the next batch to the next forward pass. What follows a forward pass or an evaluation belongs to it;
what follows a backward pass within an optimizer's step (LBFGS and its closure), to that step.

A program trains in one thread, whichever that is; `threads.py` tells whose phase a call is.
"""

from array import array

from .counters import now
from .harmless import harmless

LOAD, FORWARD, BACKWARD = "load", "forward", "backward"
OPTIMIZER, EVALUATION, SAVE = "optimizer step", "evaluation", "checkpoint save"

_MOST_STRETCHES = 20_000


class Training:
    """One training: the phase that it is in, and what was seen of it. `covers(device)`: the card is its own."""

    def __init__(self, counters, covers):
        self.counters, self.covers = counters, covers
        self.name, self.since = LOAD, now()
        self.steps, self.forwards, self.backwards = 0, 0, 0
        self.steps_of = {}  # id of an optimizer: its steps. A program with two takes both in one step.
        self.depth = {BACKWARD: 0, SAVE: 0}
        self.stepping = []  # ids of the optimizers whose step() is being called: those with a closure go on after it
        self.stack = []  # numbers of the modules that are being called
        self.calls = array("q")  # pairs: time, number of the module that runs from then on (-1: none)
        self.follows_calls = True  # False: what follows a step is a forward pass, as nothing tells
        self.stretches = []  # [name, step, begin, end]
        self.peaks = {}  # name: {device: {"allocated": (bytes, step), "reserved": …, "device": …}}
        self.totals = {}  # device: (retries, errors)

    def is_busy(self):
        """In the middle of something that ends in the same thread."""
        return bool(self.stack or self.stepping) or any(self.depth.values())

    @harmless
    def begin(self, name):
        if name == self.name:
            return
        if self.name is not None:
            self.close()
        self.name = name

    @harmless
    def end(self):
        if self.name is not None:
            self.close()
            self.name = None

    def begin_step(self, optimizer):
        if id(optimizer) in self.stepping:  # that step ended by an exception
            del self.stepping[self.stepping.index(id(optimizer)) :]
        self.stepping.append(id(optimizer))
        self.begin(OPTIMIZER)

    def end_step(self, optimizer):
        self.end()
        if id(optimizer) in self.stepping:
            del self.stepping[self.stepping.index(id(optimizer)) :]
        if self.stepping:  # of an optimizer that wraps another
            self.begin(OPTIMIZER)

    def count_step(self, optimizer):
        self.steps_of[id(optimizer)] = self.steps_of.get(id(optimizer), 0) + 1
        self.steps = max(self.steps_of.values())

    @harmless
    def before_reset(self):
        """The program forgets its peaks; the report keeps them, for the phase that it is in or comes from."""
        name = self.name
        self.name = name or self._last()
        self.close()
        self.name = name

    @harmless
    def finish(self):
        """The program's end. What came after the last phase belongs to it."""
        self.name = self.name or self._last()
        self.end()

    def _last(self):
        return self.stretches[-1][0] if self.stretches else LOAD

    def close(self):
        """The stretch ends here, and its peaks are noted."""
        with self.counters.lock:
            self._close()

    def _close(self):
        end = now()
        if len(self.stretches) < _MOST_STRETCHES:
            self.stretches.append([self.name, self.steps, self.since, end])
        self.since = end
        for device, (allocated, reserved, outside, retries, errors) in self.counters.take(self.covers).items():
            self._note(self.name, device, "allocated", allocated, self.steps)
            self._note(self.name, device, "reserved", reserved, self.steps)
            self._note(self.name, device, "device", reserved + outside, self.steps)
            self.totals[device] = (retries, errors)

    def _note(self, name, device, key, size, step):
        best = self.peaks.setdefault(name, {}).setdefault(device, {})
        if size > best.get(key, (-1, 0))[0]:
            best[key] = (size, step)

    def take_over(self, other, devices):
        """What `other` saw of these cards before they were known to be this one's was their loading."""
        for seen in other.peaks.values():
            for device in devices & seen.keys():
                for key, (size, _) in seen.pop(device).items():
                    self._note(LOAD, device, key, size, 0)
        for device in devices & other.totals.keys():
            self.totals[device] = other.totals.pop(device)

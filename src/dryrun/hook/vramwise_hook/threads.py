"""Whose training a call belongs to, by the thread that makes it and the cards that it works on.

Mostly a program has one training, in the thread that began it: main, or a worker that main waits for. It may go on in
another thread when it is not in the middle of something; calls of other threads meanwhile (those of the autograd
engine, of DataParallel) are part of what it is in the middle of. Threads that train at the same time on cards of their
own are trainings of their own, each with its phases. On one card they can't be told apart: what is told is the phases
of one of them, and a note says so.
"""

import os
import threading

from .harmless import harmless
from .phases import LOAD, Training


class Trainings:
    def __init__(self, counters):
        self.counters = counters
        counters.before_reset = self._before_reset
        self.process = os.getpid()
        self.lock = threading.RLock()
        self.cards = {}  # training: the cards that its parameters lie on
        self.thread_of = {}  # training: the thread that it is in
        self.steppers = {}  # training: threads that took optimizer steps in it
        self.is_mixed = False  # several of them at the same time, perhaps
        self.first = self._add(threading.get_ident())

    def all(self):
        return list(self.cards)

    def _add(self, thread):
        training = Training(self.counters, lambda device: self._covers(training, device))
        self.cards[training], self.thread_of[training], self.steppers[training] = set(), thread, set()
        return training

    def _covers(self, training, device):
        """The first one has what no other has: a program of one training has all cards."""
        if training is self.first:
            return not any(device in cards for other, cards in list(self.cards.items()) if other is not training)
        return device in self.cards[training]

    def here(self, cards=set, steps=False):
        """The training that a call in this thread is of; None: it is no news (or this is a fork).

        `cards()`: those that the call works on. `steps`: it is an optimizer's step.
        """
        if os.getpid() != self.process:
            return None
        with self.lock:
            me = threading.get_ident()
            mine = next((each for each in self.cards if self.thread_of[each] == me), None)
            return self._of_thread(me, mine, cards(), steps) if mine or _is_pythons(me) else None

    def of_this_thread(self):
        """The thread's own, or the first. Takes nothing over."""
        me = threading.get_ident()
        return next((each for each in list(self.cards) if self.thread_of[each] == me), self.first)

    def is_in(self, training):
        """Whether it is in this thread, and this is no fork."""
        return self.thread_of[training] == threading.get_ident() and os.getpid() == self.process

    def _of_thread(self, me, mine, devices, steps):
        if mine is not None:
            self.cards[mine] |= devices - self._of_others(mine)
        elif not devices:  # a save, work on the CPU
            over = [each for each in self.cards if not _is_pythons(self.thread_of[each])]
            mine = over[0] if len(over) == 1 else None
        else:
            mine = self._on(devices) or self._another(me, devices)
        if mine is None:
            return None
        if steps:
            self.steppers[mine] = {thread for thread in self.steppers[mine] if _is_pythons(thread)} | {me}
            self.is_mixed = self.is_mixed or len(self.steppers[mine]) > 1
        if self.thread_of[mine] != me:
            if mine.is_busy():
                return None
            self.thread_of[mine] = me
            self.cards[mine] |= devices - self._of_others(mine)
        return mine

    def _on(self, devices):
        """The training on these cards, or one of which no cards are known yet."""
        same = [each for each, cards in self.cards.items() if cards & devices]
        same += [each for each, cards in self.cards.items() if not cards]
        return same[0] if same else None

    def _of_others(self, training):
        return set().union(*(cards for other, cards in self.cards.items() if other is not training))

    def _another(self, thread, devices):
        training = self._add(thread)
        training.since = self.first.stretches[0][2] if self.first.stretches else self.first.since
        for other in self.cards:
            if other is not training and other.name is not None:
                other.close()
        self.cards[training] = devices
        for other in self.cards:
            if other is not training:
                training.take_over(other, devices)
        return training

    def _before_reset(self):
        if os.getpid() == self.process:
            with self.lock:
                for training in self.cards:
                    training.before_reset()

    @harmless
    def finish(self):
        for training in self.cards:
            training.finish()

    # ---- for the report

    @property
    def steps(self):
        return max(training.steps for training in self.cards)

    @property
    def backwards(self):
        return sum(training.backwards for training in self.cards)

    def peaks(self):
        """{phase: {device: …}} of all."""
        together = {LOAD: {}}
        for training in self.cards:
            for name, seen in training.peaks.items():
                together.setdefault(name, {}).update(seen)
        return {name: seen for name, seen in together.items() if seen}

    def totals(self):
        together = {}
        for training in self.cards:
            together.update(training.totals)
        return together


def _is_pythons(thread):
    """A thread that Python started and that is still there; those of the autograd engine are not Python's."""
    dummy = getattr(threading, "_DummyThread", ())
    return any(each.ident == thread and not isinstance(each, dummy) for each in threading.enumerate())


def cards_of(tensors):
    """The CUDA devices of tensors, and of lists of them."""
    found = set()
    for each in tensors if isinstance(tensors, (list, tuple)) else [tensors]:
        if getattr(each, "is_cuda", False) is True:
            found.add(each.device.index)
    return found

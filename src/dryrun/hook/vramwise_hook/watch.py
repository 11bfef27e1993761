"""Puts the parts together in a program that has imported torch, and writes what they saw when it ends."""

import atexit
import ctypes
import functools
import json
import os

from . import history, imports, trainers, values
from .counters import Counters
from .harmless import harmless
from .loaders import Loaders
from .modules import Modules
from .phases import BACKWARD, FORWARD, OPTIMIZER, SAVE, Phases
from .tensors import Tensors


def install(torch):
    watch = Watch(torch, int(os.environ.get("VRAMWISE_STEPS", "0")), os.environ["VRAMWISE_LEDGER_DIR"])
    # Each is harmless: with a torch of another shape the others go on.
    for part in (watch.follow_modules, watch.follow_steps, watch.follow_saving, watch.record, watch.end_loaders):
        part()
    atexit.register(watch.write)


class Watch:
    def __init__(self, torch, limit, folder):
        self.torch, self.limit, self.folder = torch, limit, folder
        self.phases = Phases(Counters(torch))
        self.tensors = Tensors(torch)
        self.modules = Modules(torch, self.phases, self.tensors)
        self.loaders = Loaders(torch, self.phases, limit)
        self.steps_of = {}  # id of an optimizer: its steps. A program with two takes both in one step.
        self.depth = {BACKWARD: 0, SAVE: 0}

    @harmless
    def follow_modules(self):
        self.modules.install()
        imports.after("torch._dynamo.callback", self._follow_compiling)
        imports.after("torch._dynamo.eval_frame", self.modules.follow_compiling)

    @harmless
    def _follow_compiling(self, callback):
        callback.callback_handler.register_start_callback(self.modules.before_compiling)

    @harmless
    def follow_steps(self):
        from torch.optim import optimizer

        optimizer.register_optimizer_step_pre_hook(lambda which, *_: self._before_step(which))
        optimizer.register_optimizer_step_post_hook(lambda which, *_: self._after_step(which))
        for name in ("backward", "grad"):
            self._follow_calls(self.torch.autograd, name, BACKWARD)

    @harmless
    def follow_saving(self):
        self._follow_calls(self.torch, "save", SAVE)
        self._follow_calls(self.torch.nn.Module, "state_dict", SAVE, lambda: self.phases.steps > 0)
        for name in ("save_file", "save_model", "save"):
            imports.after("safetensors.torch", lambda module, name=name: self._follow_calls(module, name, SAVE))
        for name in ("save", "async_save"):
            imports.after(
                "torch.distributed.checkpoint.state_dict_saver",
                lambda module, name=name: self._follow_calls(module, name, SAVE),
            )

    @harmless
    def record(self):
        history.start(self.torch)
        values.start(self.torch)

    @harmless
    def end_loaders(self):
        if not self.limit:
            return
        from torch.utils.data import DataLoader

        self.loaders.install(DataLoader)
        trainers.install(self)

    def _follow_calls(self, owner, name, phase, when=lambda: True):
        """Calls of owner.name are the phase; those within such a call, and those of other threads, are not new ones."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def followed(*arguments, **options):
            if self.modules.compiling() or not self.phases.here() or self.depth[phase] or not when():
                return original(*arguments, **options)
            before = self.phases.name
            self.phases.begin(phase)
            self.depth[phase] += 1
            if phase == BACKWARD:
                self.loaders.backwards += 1
            try:
                return original(*arguments, **options)
            finally:
                self.depth[phase] -= 1
                if before != BACKWARD:
                    self.phases.end()

        setattr(owner, name, followed)

    def _before_step(self, optimizer):
        if self.phases.here():
            self.tensors.note_gradients(optimizer, self.phases.steps)
            self.phases.begin(OPTIMIZER)

    def _after_step(self, optimizer):
        if self.phases.here():
            self.tensors.note_states(optimizer, self.phases.steps)
            self.phases.end()
            self.steps_of[id(optimizer)] = self.steps_of.get(id(optimizer), 0) + 1
            self.phases.steps = max(self.steps_of.values())
            if not self.phases.follows_calls:
                self.phases.begin(FORWARD)

    def write(self):
        if os.getpid() != self.phases.process:
            return
        self.phases.finish()
        # The interpreter's end is where things may break: the ledger is on disk before it.
        write_ledger = getattr(ctypes.CDLL(None), "vramwise_emulator_write_ledger", None)
        if write_ledger:
            write_ledger()
        harmless(history.write)(self.torch, self._path("history", "pickle"))
        values.write_trace(self.torch, self._path("trace", "txt"))
        path = self._path("torch", "json")
        with open(path + ".part", "w") as file:
            json.dump(self._report(), file, separators=(",", ":"))
        os.replace(path + ".part", path)

    def _path(self, kind, suffix):
        return os.path.join(self.folder, f"{kind}.{self.phases.process}.{suffix}")

    def _report(self):
        phases = self.phases
        return {
            "torch": str(self.torch.__version__),
            "steps": phases.steps,
            "backwards": self.loaders.backwards,
            "loaders_ended": self.loaders.ended,
            "devices": [
                {"index": device, "retries": retries, "ooms": errors}
                for device, (retries, errors) in sorted(phases.totals.items())
            ],
            "phases": [
                {"name": name, "devices": [{"index": device, **best} for device, best in sorted(seen.items())]}
                for name, seen in phases.peaks.items()
            ],
            "stretches": phases.stretches,
            "modules": self.modules.names,
            "calls": self.modules.calls.tolist(),
            "tensors": self.tensors.rows,
            "values": values.report(),
        }

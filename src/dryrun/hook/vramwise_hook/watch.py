"""Puts the parts together in a program that has imported torch, and writes what they saw when it ends."""

import atexit
import ctypes
import functools
import json
import os

from . import history, imports, terminated, trainers, values
from .counters import Counters
from .harmless import harmless
from .loaders import Loaders
from .modules import Modules
from .phases import BACKWARD, FORWARD, OPTIMIZER, SAVE
from .tensors import Tensors, parameters_of
from .threads import Trainings, cards_of


def install(torch):
    watch = Watch(torch, int(os.environ.get("VRAMWISE_STEPS", "0")), os.environ["VRAMWISE_LEDGER_DIR"])
    watch.leave_a_sign()
    # Each is harmless: with a torch of another shape the others go on.
    for part in (watch.follow_modules, watch.follow_steps, watch.follow_saving, watch.record, watch.end_loaders):
        part()
    atexit.register(watch.write)
    terminated.follow(watch.write)
    terminated.follow_exit(watch.write)
    os.register_at_fork(after_in_child=watch.in_fork)


class Watch:
    def __init__(self, torch, limit, folder):
        self.torch, self.limit, self.folder = torch, limit, folder
        self.trainings = Trainings(Counters(torch))
        self.tensors = Tensors(torch)
        self.modules = Modules(torch, self.trainings, self.tensors)
        self.loaders = Loaders(torch, self.trainings, limit)

    @harmless
    def in_fork(self):
        """Of a process that has not used CUDA: it may do so itself. A fork of one that has is refused by PyTorch."""
        if not self.torch.cuda._is_in_bad_fork():
            self.torch.cuda._lazy_call(self._go_on_in_fork)

    @harmless
    def _go_on_in_fork(self):
        self.trainings.process, self.loaders.ended, self.loaders.unused = os.getpid(), 0, 0
        self.leave_a_sign()
        terminated.follow(self.write)

    @harmless
    def leave_a_sign(self):
        """Who finds a process of PyTorch without it knows that this package was not loaded there: python -I."""
        with open(os.path.join(self.folder, f"hook.{os.getpid()}"), "w"):
            pass

    @harmless
    def follow_modules(self):
        self.modules.install()
        self.modules.follow_compiling_in_place()
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
        self._follow_calls(self.torch.nn.Module, "state_dict", SAVE, lambda: self.trainings.steps > 0)
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
            tensors = arguments[0] if phase == BACKWARD and arguments else ()
            silent = self.modules.compiling() or not when()
            training = None if silent else self.trainings.here(lambda: cards_of(tensors))
            if training is None or training.depth[phase]:
                return original(*arguments, **options)
            before = training.name
            training.begin(phase)
            training.depth[phase] += 1
            training.backwards += phase == BACKWARD
            try:
                return original(*arguments, **options)
            finally:
                training.depth[phase] -= 1
                if training.stepping:
                    training.begin(OPTIMIZER)
                elif before != BACKWARD:
                    training.end()

        setattr(owner, name, followed)

    def _before_step(self, optimizer):
        if training := self.trainings.here(lambda: cards_of(list(parameters_of(optimizer))), steps=True):
            self.tensors.note_gradients(optimizer, training.steps)
            training.begin_step(optimizer)

    def _after_step(self, optimizer):
        training = self.trainings.of_this_thread()
        if self.trainings.is_in(training):
            self.tensors.note_states(optimizer, training.steps)
            training.end_step(optimizer)
            training.count_step(optimizer)
            if not training.follows_calls:
                training.begin(FORWARD)

    def write(self):
        if os.getpid() != self.trainings.process:
            return
        self.trainings.finish()
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
        return os.path.join(self.folder, f"{kind}.{self.trainings.process}.{suffix}")

    def _report(self):
        trainings = self.trainings
        others = [each for each in trainings.all() if each is not trainings.first]
        return {
            "torch": str(self.torch.__version__),
            "steps": trainings.steps,
            "backwards": trainings.backwards,
            "loaders_ended": self.loaders.ended,
            "loaders_unused": self.loaders.unused,
            "devices": [
                {"index": device, "retries": retries, "ooms": errors}
                for device, (retries, errors) in sorted(trainings.totals().items())
            ],
            "phases": [
                {"name": name, "devices": [{"index": device, **best} for device, best in sorted(seen.items())]}
                for name, seen in trainings.peaks().items()
            ],
            "stretches": trainings.first.stretches,
            "calls": trainings.first.calls.tolist(),
            "threads": [
                {"devices": sorted(trainings.cards[each]), "stretches": each.stretches, "calls": each.calls.tolist()}
                for each in others
            ],
            "threads_are_mixed": trainings.is_mixed,
            "modules": self.modules.names,
            "tensors": self.tensors.rows,
            "values": values.report(),
        }

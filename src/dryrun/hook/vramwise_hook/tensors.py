"""Whose memory is at which address, and when: parameters, buffers, gradients, optimizer states."""

import gc

from .counters import now
from .harmless import harmless

# Places change in the first steps (states appear, gradients are set to None); later only the powers of two are noted.
_FIRST_STEPS = 3
_MOST_ROWS = 300_000


class Tensors:
    def __init__(self, torch):
        self.torch = torch
        self.rows = []  # [device, address, bytes, kind, name, time]
        self.names = {}  # id of a parameter: its name
        self.noted = set()
        self.has_halves = False  # a module has parameters of 16 bits, of which an optimizer may hold copies of 32

    def _is_due(self, what, steps):
        due = steps <= _FIRST_STEPS or steps & (steps - 1) == 0
        if not due or (what, steps) in self.noted or len(self.rows) > _MOST_ROWS:
            return False
        self.noted.add((what, steps))
        return True

    @harmless
    def note_modules(self, root, steps):
        if not self._is_due(id(root), steps):
            return
        for name, parameter in root.named_parameters():
            self.names[id(parameter)] = name
            self.has_halves = self.has_halves or parameter.dtype in (self.torch.float16, self.torch.bfloat16)
            self._note(parameter, "weights", name)
        for name, buffer in root.named_buffers():
            self._note(buffer, "weights", name)

    @harmless
    def note_gradients(self, optimizer, steps):
        if self._is_due((id(optimizer), "gradients"), steps):
            if any(id(parameter) not in self.names for parameter in parameters_of(optimizer)):
                self._search_modules(steps)
            for parameter in parameters_of(optimizer):
                for gradient in (parameter.grad, getattr(parameter, "main_grad", None)):
                    if gradient is not None:
                        self._note(gradient, "gradients", self._name(parameter))

    @harmless
    def note_states(self, optimizer, steps):
        if not self._is_due((id(optimizer), "states"), steps):
            return
        for parameter, state in optimizer.state.items():
            name = self._name(parameter)
            for key, value in state.items() if isinstance(state, dict) else ():
                self._note(value, "optimizer states", f"{name} ({key})")
        for parameter in parameters_of(optimizer):
            if id(parameter) not in self.names:
                if self.has_halves and parameter.dtype == self.torch.float32:
                    self._note(parameter, "optimizer states", "master weights")
                else:
                    self._note(parameter, "weights", "a tensor of no module")

    def _search_modules(self, steps):
        """Modules whose calls were not seen, in compiled functions for instance. Takes a tenth of a second, once."""
        if "searched" in self.noted:
            return
        self.noted.add("searched")
        kind = self.torch.nn.Module
        # type(), not isinstance: stand-ins that load something when they are asked for their class stay asleep.
        modules = [item for item in gc.get_objects() if issubclass(type(item), kind)]
        inner = {id(child) for module in modules for child in module.children()}
        for module in modules:
            if id(module) not in inner:
                self.note_modules(module, steps)

    def _name(self, parameter):
        return self.names.get(id(parameter), "a parameter")

    def _note(self, value, kind, name, depth=0):
        """Tensors that wrap others (sharded, quantized) are what they wrap."""
        if depth > 4:
            return
        if isinstance(value, (list, tuple)):
            for item in value:
                self._note(item, kind, name, depth + 1)
            return
        inner = getattr(value, "__tensor_flatten__", None)
        if inner is not None and not isinstance(value, type):
            for attribute in inner()[0]:
                self._note(getattr(value, attribute, None), kind, name, depth + 1)
            return
        if getattr(value, "is_cuda", False) is True:
            storage = value.untyped_storage()
            if storage.nbytes() > 0:
                self.rows.append([value.device.index, storage.data_ptr(), storage.nbytes(), kind, name, now()])
        quantized = getattr(value, "quant_state", None)  # of bitsandbytes
        if quantized is not None:
            for state in (quantized, getattr(quantized, "state2", None)):
                for item in vars(state).values() if state is not None else ():
                    if item is not value and hasattr(item, "untyped_storage"):
                        self._note(item, kind, name, depth + 1)


def parameters_of(optimizer):
    return (parameter for group in optimizer.param_groups for parameter in group["params"])

"""Follows the calls of modules: the outermost one tells a forward pass from an evaluation, the inner ones name tensors.

Hooks on all modules would be seen by torch.compile, which then compiles other code. So they are taken away when it
compiles for the first time; from then on the outermost modules that were seen have hooks of their own.
"""

import weakref
from array import array

from .counters import now
from .harmless import harmless
from .phases import BACKWARD, EVALUATION, FORWARD, LOAD

_MOST_CALLS = 400_000


class Modules:
    def __init__(self, torch, phases, tensors):
        self.torch, self.phases, self.tensors = torch, phases, tensors
        self.names, self.index = [], {}  # of modules: their names, and id -> index
        self.calls = array("q")  # pairs: time, index of the module that runs from then on (-1: none)
        self.stack = []
        self.roots = weakref.WeakKeyDictionary()  # root: does it train?
        self.handles = []
        self.compiling = torch.compiler.is_compiling if hasattr(torch.compiler, "is_compiling") else lambda: False

    def install(self):
        module = self.torch.nn.modules.module
        self.handles = [
            module.register_module_forward_pre_hook(self._enter),
            module.register_module_forward_hook(self._leave, always_call=True),
        ]

    def _let_go(self):
        for handle in self.handles:
            handle.remove()
        self.handles = []

    @harmless
    def follow_compiling(self, eval_frame):
        """A compiled module warns of hooks on all modules when it is called, so they go before."""
        original = eval_frame.OptimizedModule.__call__

        def call(module, *arguments, **options):
            if self.handles:
                self._begin_compiled(module)
            return original(module, *arguments, **options)

        eval_frame.OptimizedModule.__call__ = call

    @harmless
    def _begin_compiled(self, module):
        if self.phases.here():
            self._begin_root(module)
            self.before_compiling()

    @harmless
    def before_compiling(self, *_):
        """Called again and again by torch.compile."""
        if not self.handles:
            return
        self._let_go()
        compiled = self.torch._dynamo.eval_frame.OptimizedModule
        if not any(isinstance(root, compiled) for root in self.roots):
            # A function is compiled, with the modules in it: their calls can't be followed from here on.
            self.phases.follows_calls = False
            if self.phases.name in (None, LOAD):
                self.phases.begin(FORWARD)
        for root in list(self.roots):
            if not isinstance(root, self.torch.jit.ScriptModule):
                root.register_forward_pre_hook(self._enter_root)
        self.stack.clear()
        self._mark(-1)

    @harmless
    def _enter_root(self, module, _arguments):
        if not self.compiling() and self.phases.here():
            self._begin_root(module)

    @harmless
    def _enter(self, module, _arguments):
        if self.compiling() or not self.phases.here():
            return
        if not self.stack:
            self._begin_root(module)
        index = self.index.get(id(module))
        if index is None:  # made after its root was named
            self._learn(module)
            index = self.index[id(module)]
        self.stack.append(index)
        self._mark(index)

    @harmless
    def _leave(self, module, _arguments, _output):
        if self.stack and not self.compiling() and self.phases.here():
            self.stack.pop()
            self._mark(self.stack[-1] if self.stack else -1)

    def _mark(self, index):
        if len(self.calls) < 2 * _MOST_CALLS:
            self.calls.extend((now(), index))

    def _begin_root(self, module):
        if self.phases.name == BACKWARD:  # recomputed for a checkpoint
            return
        if module not in self.roots:
            self.roots[module] = any(p.requires_grad for p in module.parameters())
            self._learn(module)
        evaluates = self.roots[module] and not self.torch.is_grad_enabled()
        if evaluates or self.phases.name != EVALUATION or self.torch.is_grad_enabled():
            self.phases.begin(EVALUATION if evaluates else FORWARD)
        self.tensors.note_modules(module, self.phases.steps)

    def _learn(self, root):
        for name, module in root.named_modules():
            if self.index.setdefault(id(module), len(self.names)) == len(self.names):
                self.names.append(name or type(module).__name__)

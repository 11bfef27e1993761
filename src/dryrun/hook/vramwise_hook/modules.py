"""Follows the calls of modules: the outermost one tells a forward pass from an evaluation, the inner ones name tensors.

Hooks on all modules would be seen by torch.compile, which then compiles other code. So they are taken away when it
compiles for the first time; from then on the outermost modules that were seen have hooks of their own.
"""

import functools
import weakref

from .counters import now
from .harmless import harmless
from .phases import BACKWARD, EVALUATION, FORWARD, LOAD
from .threads import cards_of

_MOST_CALLS = 400_000


class Modules:
    def __init__(self, torch, trainings, tensors):
        self.torch, self.trainings, self.tensors = torch, trainings, tensors
        self.names, self.index = [], {}  # of modules: their names, and id -> index
        self.roots = weakref.WeakKeyDictionary()  # root: (does it train?, the cards it lies on)
        self.handles = []
        self.compiling = torch.compiler.is_compiling if hasattr(torch.compiler, "is_compiling") else lambda: False

    def install(self):
        module = self.torch.nn.modules.module
        self.handles = [
            module.register_module_forward_pre_hook(self._enter),
            module.register_module_forward_hook(self._leave, always_call=True),
        ]

    @harmless
    def follow_compiling_in_place(self):
        """module.compile() puts compiled code behind the module's own call, hooks and all."""
        module_class = self.torch.nn.Module
        original = module_class.compile

        @functools.wraps(original)
        def compile_in_place(module, *arguments, **options):
            original(module, *arguments, **options)
            compiled = module._compiled_call_impl

            def call(*arguments, **options):
                self._begin_compiled_in_place(module)
                return compiled(*arguments, **options)

            module._compiled_call_impl = call

        module_class.compile = compile_in_place

    @harmless
    def _begin_compiled_in_place(self, module):
        if self.compiling() or (id(module) in self.index and module not in self.roots):  # part of another
            return
        if training := self.trainings.here(lambda: self._cards(module)):
            self._begin_root(training, module)

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
        if training := self.trainings.here(lambda: self._cards(module)):
            self._begin_root(training, module)
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
            for training in self.trainings.all():
                training.follows_calls = False
                if training.name in (None, LOAD):
                    training.begin(FORWARD)
        for root in list(self.roots):
            if not isinstance(root, self.torch.jit.ScriptModule):
                root.register_forward_pre_hook(self._enter_root)
            if isinstance(root, compiled):  # what is in it may be called without it: an evaluation that is not compiled
                root._orig_mod.register_forward_pre_hook(self._enter_root)
        for training in self.trainings.all():
            training.stack.clear()
            self._mark(training, -1)

    @harmless
    def _enter_root(self, module, _arguments):
        if not self.compiling() and (training := self.trainings.here(lambda: self._cards(module))):
            self._begin_root(training, module)

    @harmless
    def _enter(self, module, _arguments):
        # Replicas are called in threads of DataParallel, whose own call is what the phase is of.
        if self.compiling() or getattr(module, "_is_replica", False):
            return
        training = self.trainings.of_this_thread()
        if not training.stack or not self.trainings.is_in(training):
            training = self.trainings.here(lambda: self._cards(module))
        if training is None:
            return
        if not training.stack:
            self._begin_root(training, module)
        index = self.index.get(id(module))
        if index is None:  # made after its root was named
            self._learn(module)
            index = self.index[id(module)]
        training.stack.append(index)
        self._mark(training, index)

    @harmless
    def _leave(self, module, _arguments, _output):
        if self.compiling() or getattr(module, "_is_replica", False):
            return
        training = self.trainings.of_this_thread()
        if training.stack and self.trainings.is_in(training):
            training.stack.pop()
            self._mark(training, training.stack[-1] if training.stack else -1)

    def _mark(self, training, index):
        if len(training.calls) < 2 * _MOST_CALLS:
            training.calls.extend((now(), index))

    def _cards(self, module):
        """Of the outermost modules; for a new one they are looked up, and again until it has come to a card."""
        known = self.roots.get(module)
        return known[1] if known and known[1] else cards_of(list(module.parameters()))

    def _begin_root(self, training, module):
        if training.name == BACKWARD:  # recomputed for a checkpoint
            return
        known = self.roots.get(module)
        if known is None or not known[1]:
            self.roots[module] = any(p.requires_grad for p in module.parameters()), self._cards(module)
        if known is None:
            self._learn(module)
        evaluates = self.roots[module][0] and not self.torch.is_grad_enabled()
        if evaluates or training.name != EVALUATION or self.torch.is_grad_enabled():
            training.begin(EVALUATION if evaluates else FORWARD)
        training.forwards += 1
        self.tensors.note_modules(module, training.steps)

    def _learn(self, root):
        for name, module in root.named_modules():
            if self.index.setdefault(id(module), len(self.names)) == len(self.names):
                self.names.append(name or type(module).__name__)

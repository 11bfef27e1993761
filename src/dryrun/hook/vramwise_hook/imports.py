"""Calls functions when the program has imported a module, and before it goes on."""

import importlib.abc
import sys

_waiting = {}


def after(name, function):
    """`function(module)` runs once, right after the module `name` was imported; at once if it is there already."""
    if name in sys.modules:
        _call(function, sys.modules[name])
    else:
        _waiting.setdefault(name, []).append(function)


def listen():
    sys.meta_path.insert(0, _Listener())


def _call(function, module):
    try:
        function(module)
    except Exception as error:  # a module of another shape: what does not depend on it goes on
        print(f"vramwise: {function.__module__} has no place in {module.__name__} here: {error!r}", file=sys.stderr)


class _Listener(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in _waiting:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    """Lets the module's own loader do its work."""

    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        for function in _waiting.pop(module.__name__, ()):
            _call(function, module)

"""Data loaders end after some optimizer steps, so that a dry run reaches what comes after training."""

# Libraries that fetch the next batch before they use the last one are this far ahead of their backward pass.
_LOOKAHEAD = 2
# A program of many epochs: after so many it has shown what an epoch does.
_FULL_EPOCHS = 2


class Loaders:
    def __init__(self, torch, phases, limit):
        self.torch, self.phases, self.limit = torch, phases, limit
        self.backwards = 0
        self.ended = 0
        self.trained = {}  # id of a loader: the passes over it that trained

    def install(self, loader_class):
        iterate = loader_class.__iter__
        loader_class.__iter__ = lambda loader: _Limited(self, loader, iterate(loader))


class _Limited:
    """Ends after `limit` optimizer steps; where nothing is trained, after `limit` batches."""

    def __init__(self, owner, loader, batches):
        self._owner, self._loader, self._batches = owner, loader, batches
        self._count, self._over = 0, False
        self._steps, self._backwards = owner.phases.steps, owner.backwards

    def __getattr__(self, name):
        return getattr(self._batches, name)

    def __len__(self):
        return len(self._batches)

    def __iter__(self):
        return self

    def __next__(self):
        if self._over or self._is_enough():
            if not self._over:
                self._owner.ended += 1
            self._over = True
            raise StopIteration
        try:
            batch = next(self._batches)
        except StopIteration:
            self._over = True
            raise
        self._count += 1
        return batch

    def _is_enough(self):
        owner = self._owner
        if owner.backwards > self._backwards:
            epochs = owner.trained.setdefault(id(self._loader), [])
            if self not in epochs:
                epochs.append(self)
            limit = owner.limit if len(epochs) <= _FULL_EPOCHS else 1
            return owner.phases.steps - self._steps >= limit
        ahead = _LOOKAHEAD if owner.torch.is_grad_enabled() else 0
        return self._count >= owner.limit + ahead

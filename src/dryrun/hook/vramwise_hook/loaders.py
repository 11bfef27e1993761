"""Data loaders end after some optimizer steps, so that a dry run reaches what comes after training."""

# Libraries that fetch the next batch before they use the last one are this far ahead of their backward pass.
_LOOKAHEAD = 2
# A program of many epochs: after so many it has shown what an epoch does.
_FULL_EPOCHS = 2
# So many backward passes without a step: the optimizer is none of PyTorch's.
_MOST_BACKWARDS = 256
# So many batches that no model was called for: they are not fetched to be used later.
_MOST_UNUSED = 256


class Loaders:
    def __init__(self, torch, trainings, limit):
        self.torch, self.trainings, self.limit = torch, trainings, limit
        self.ended, self.unused = 0, 0  # the second: of those, for want of a model that takes their batches
        self.epochs = {}  # id of a data set (loaders are made anew): how often it was gone through for training

    def install(self, loader_class):
        iterate = loader_class.__iter__
        loader_class.__iter__ = lambda loader: _Limited(self, loader, iterate(loader))


class _Limited:
    """Ends after `limit` optimizer steps; where nothing is trained, after `limit` batches that a model was called for.

    (Trainers fetch all batches of a step before they use the first.)
    """

    def __init__(self, owner, loader, batches):
        self._owner, self._batches = owner, batches
        self._data = id(getattr(loader, "dataset", loader))
        self._count, self._used, self._epoch, self._over = 0, 0, None, False
        self._training = owner.trainings.of_this_thread()
        self._steps, self._backwards = self._training.steps, self._training.backwards
        self._forwards = self._training.forwards

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
        owner, training = self._owner, self._owner.trainings.of_this_thread()
        if training is not self._training:  # this thread's own began when there was a batch already
            self._training, self._steps, self._backwards, self._forwards = training, 0, 0, 0
        if training.backwards > self._backwards:
            if self._epoch is None:
                self._epoch = owner.epochs.get(self._data, 0)
                owner.epochs[self._data] = self._epoch + 1
            limit = owner.limit if self._epoch < _FULL_EPOCHS else 1
            steps = training.steps - self._steps
            return steps >= limit or (steps == 0 and training.backwards - self._backwards >= _MOST_BACKWARDS)
        self._used += training.forwards > self._forwards
        self._forwards = training.forwards
        limit = owner.limit + (_LOOKAHEAD if owner.torch.is_grad_enabled() else 0)
        used = self._used if training.follows_calls else self._count
        if used >= limit:
            return True
        is_unused = self._count >= self._used + max(_MOST_UNUSED, limit)
        owner.unused += is_unused
        return is_unused

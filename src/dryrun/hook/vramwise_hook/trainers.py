"""Training loops of libraries end in their own way, and go through evaluation and saving where they have them."""

from . import imports
from .harmless import harmless


def install(watch):
    if not watch.limit:
        return
    imports.after("transformers.trainer_callback", lambda module: _transformers(module, watch))
    for package in ("lightning.pytorch", "pytorch_lightning"):
        imports.after(f"{package}.trainer.trainer", lambda module: _lightning(module, watch))
    imports.after("torchdata.stateful_dataloader.stateful_dataloader", lambda module: _stateful(module, watch))


@harmless
def _transformers(module, watch):
    """After the last step the trainer is told what its callbacks may tell it: evaluate, save, stop."""
    original = module.CallbackHandler.on_step_end

    def on_step_end(self, args, state, control, *rest, **options):
        control = original(self, args, state, control, *rest, **options)
        _end_trainer(args, state, control, watch.limit)
        return control

    module.CallbackHandler.on_step_end = on_step_end


@harmless
def _end_trainer(args, state, control, limit):
    if state.global_step < limit:
        return
    wanted = getattr(args, "eval_strategy", None) or getattr(args, "evaluation_strategy", "no")
    control.should_evaluate = control.should_evaluate or getattr(wanted, "value", wanted) != "no"
    control.should_save = control.should_save or getattr(args.save_strategy, "value", args.save_strategy) != "no"
    control.should_training_stop = True


@harmless
def _lightning(module, watch):
    """Two epochs show what an epoch does; what a user asked for remains the upper bound."""
    original = module.Trainer.__init__

    def init(self, *arguments, **options):
        original(self, *arguments, **options)
        _bound_lightning(self)

    module.Trainer.__init__ = init


@harmless
def _bound_lightning(trainer):
    loop = trainer.fit_loop
    wanted = loop.max_epochs
    if wanted is None or wanted == -1 or wanted > 2:
        loop.max_epochs = 2


@harmless
def _stateful(module, watch):
    watch.loaders.install(module.StatefulDataLoader)

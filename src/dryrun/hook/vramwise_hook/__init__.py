"""What a dry run needs inside a Python program. One module an idea; each says with `imports.after` what it waits for.

Nothing here may change what the program does, and nothing may end it: a module that fails says so and is left out.
"""

from . import imports, jax, ranks, uploads, watch, weights


def install():
    imports.after("torch", watch.install)
    ranks.install()
    uploads.install()
    jax.install()
    weights.install()
    imports.listen()

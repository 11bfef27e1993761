"""One rank of many, alone: whatever starts a process for each rank starts only the wanted one.

Launchers keep their own parsing of arguments; what is replaced is the place where each of them starts processes. The
ranks that are not started are phantoms (ranks_peers).
"""

import atexit
import importlib
import json
import os
import sys

from . import imports

WANTED = int(os.environ.get("VRAMWISE_RANK", "0"))
_FOLDER = os.environ.get("VRAMWISE_LEDGER_DIR", "")
_found = {"assumed": {}}


def install():
    imports.after("subprocess", _start_one_process)
    imports.after("torch.distributed.launcher.api", _become_the_rank)
    imports.after("torch.multiprocessing.spawn", _spawn_one)
    for package in ("lightning.fabric", "lightning_fabric"):
        imports.after(f"{package}.plugins.environments.lightning", _lightning_rank)
    imports.after("torch.distributed.distributed_c10d", _phantom_peers)


def found(rank, world_size, local_world_size=None):
    """Notes which rank this process is."""
    if "rank" not in _found:
        atexit.register(_write)
    _found.update(rank=rank, world_size=world_size, local_world_size=local_world_size)
    _write()


def assumed(what):
    """Counts an answer of the phantoms that may differ from that of the real ranks."""
    _found["assumed"][what] = _found["assumed"].get(what, 0) + 1


def _write():
    path = os.path.join(_FOLDER, f"ranks.{os.getpid()}.json")
    try:
        with open(path + ".part", "w") as file:
            json.dump(_found, file)
        os.replace(path + ".part", path)
    except FileNotFoundError:  # the dry run is over, its folder is gone
        pass


# ---- torchrun, accelerate launch: the agent that would start and watch the ranks of this node


def _become_the_rank(api):
    def launch_agent(config, entrypoint, arguments, *_, **__):
        from torch.distributed.elastic.utils import macros

        local, nodes = config.nproc_per_node, config.min_nodes
        if local * nodes <= WANTED:
            raise SystemExit(f"vramwise: rank {WANTED} was asked for, but there are {local * nodes}")
        _compare_with_cards(local)
        node, local_rank = divmod(WANTED, local)
        os.environ.update(_elastic_environment(config, node, local_rank))
        found(WANTED, local * nodes, local)
        arguments = macros.substitute(list(arguments), str(local_rank))
        if callable(entrypoint):
            return {WANTED: entrypoint(*arguments)}
        sys.stdout.flush()
        sys.stderr.flush()
        os.execvp(entrypoint, [entrypoint, *arguments])

    api.launch_agent = launch_agent


def _compare_with_cards(local):
    import torch

    cards = torch.cuda.device_count()
    if 0 < cards < local:
        print(
            f"vramwise: {local} ranks a machine, but --gpu names {cards}: --gpu {local}x… has one each", file=sys.stderr
        )


def _elastic_environment(config, node, local_rank):
    """What the agent of torchrun sets for this rank."""
    local, nodes = config.nproc_per_node, config.min_nodes
    host, _, port = (config.rdzv_endpoint or "").rpartition(":")
    static = config.rdzv_backend == "static"
    return {
        "RANK": str(WANTED),
        "LOCAL_RANK": str(local_rank),
        "GROUP_RANK": str(node),
        "ROLE_RANK": str(WANTED),
        "ROLE_NAME": config.role,
        "WORLD_SIZE": str(local * nodes),
        "LOCAL_WORLD_SIZE": str(local),
        "GROUP_WORLD_SIZE": str(nodes),
        "ROLE_WORLD_SIZE": str(local * nodes),
        "MASTER_ADDR": host if static and host else "localhost",
        "MASTER_PORT": port if static and port.isdigit() and port != "0" else "29500",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": str(config.max_restarts),
        "TORCHELASTIC_RUN_ID": str(config.run_id),
        "TORCHELASTIC_USE_AGENT_STORE": "False",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
    }


# ---- deepspeed, Lightning and others: one subprocess a rank


def _start_one_process(subprocess):
    original = subprocess.Popen.__init__

    def start(self, args, *rest, **options):
        if _is_for_another_rank(options.get("env")):
            # It ends well at once, which is all that a launcher wants to know of it.
            args, options = ["true"], {**options, "shell": False, "executable": None}
        original(self, args, *rest, **options)

    subprocess.Popen.__init__ = start


def _is_for_another_rank(environment):
    if not environment or "LOCAL_RANK" not in environment or "WORLD_SIZE" not in environment:
        return False
    local_rank = environment["LOCAL_RANK"]
    if local_rank == os.environ.get("LOCAL_RANK"):
        return False  # a child of this rank
    size = environment.get("LOCAL_WORLD_SIZE") or environment.get("LOCAL_SIZE") or environment["WORLD_SIZE"]
    return int(local_rank) != WANTED % int(size)


def _lightning_rank(_):
    # Lightning's first process starts the others and is rank 0 itself, unless it is told which one it is.
    if WANTED and "LOCAL_RANK" not in os.environ:
        os.environ["LOCAL_RANK"] = str(WANTED)


# ---- torch.multiprocessing.spawn(function, nprocs=number of cards)


class _As:
    """Calls a function as if this were process `index`. A class, so that it can be pickled."""

    def __init__(self, function, index):
        self.function, self.index = function, index

    def __call__(self, _, *arguments):
        return self.function(self.index, *arguments)


def _spawn_one(spawn):
    original = spawn.start_processes

    def start_processes(fn, args=(), nprocs=1, *rest, **options):
        import torch

        # More processes than cards are no ranks of training on cards.
        if 1 < nprocs <= torch.cuda.device_count() and "LOCAL_RANK" not in os.environ:
            assumed("torch.multiprocessing starts one process a rank")
            fn, nprocs = _As(fn, WANTED % nprocs), 1
        return original(fn, args, nprocs, *rest, **options)

    spawn.start_processes = start_processes


def _phantom_peers(c10d):
    importlib.import_module(".ranks_peers", __package__).install(c10d)

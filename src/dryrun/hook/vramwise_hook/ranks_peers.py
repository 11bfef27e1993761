"""The ranks that were not started. In the key-value store and in Gloo they have always done what this rank did.

NCCL's collectives mirror this rank's data in the emulator; here is what PyTorch does beside it.
"""

import os
import pickle
import re
import sys
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import torch
from torch._C import _distributed_c10d as c

from . import imports, ranks

# The size of an ncclUniqueId: the one value that PyTorch's C++ waits for from another rank.
_NCCL_ID = b"vramwise".ljust(128, b"\0")


def install(c10d):
    """Runs while torch.distributed is imported: what is replaced here is what it exports."""
    _note_ranks(c10d)
    _replace_stores(c10d)
    _mirror_objects(c10d)
    _make_groups_alone(c10d)
    imports.after("torch.distributed.checkpoint.utils", _coordinate_alone)
    imports.after("torch.distributed.checkpoint.default_planner", _save_alone)
    imports.after("torch.distributed.fsdp._optim_utils", _know_all_states)


class PhantomStore(c.Store):
    """A store in which each other rank has already set what this rank sets, and adds what it adds."""

    def __init__(self, world_size):
        super().__init__()
        self.own, self.world_size = {}, world_size or 1

    def set(self, key, value):
        self.own[key] = value.encode() if isinstance(value, str) else bytes(value)

    def get(self, key):
        mirrored = self._mirrored(key)
        if mirrored is None:
            ranks.assumed("a key of the store that only another rank sets")
            return _NCCL_ID
        return self.own[mirrored]

    def _mirrored(self, key):
        """The key that this rank set; it may differ from the peer's in a number (the rank)."""
        if key in self.own:
            return key
        pattern = re.compile(re.sub(r"\d+", r"\\d+", re.escape(key)))
        return next((own for own in self.own if pattern.fullmatch(own)), None)

    def add(self, key, value):
        total = int(self.own.get(key, b"0")) + value * self.world_size
        self.own[key] = str(total).encode()
        return total

    def compare_set(self, key, expected, desired):
        if self.own.get(key, b"") == expected:
            self.own[key] = bytes(desired)
        return self.own.get(key, bytes(expected))

    def check(self, keys):
        return all(self._mirrored(key) is not None for key in keys)

    def wait(self, keys, timeout=None):
        pass

    def delete_key(self, key):
        return self.own.pop(key, None) is not None

    def num_keys(self):
        return len(self.own)

    def clone(self):
        return self

    deleteKey, getNumKeys = delete_key, num_keys  # by these names C++ asks

    def set_timeout(self, timeout):
        pass


def _replace_stores(c10d):
    from torch.distributed import rendezvous

    kept = []  # C++ holds the store but not the Python object that answers for it

    def phantom(world_size):
        kept.append(PhantomStore(world_size))
        return kept[-1]

    def create_store(host, port, rank, world_size, *rest, **options):
        return phantom(world_size) if world_size > 1 else create_real(host, port, rank, world_size, *rest, **options)

    class TCPStore(c.TCPStore):
        def __new__(cls, host_name, port, world_size=None, *rest, **options):
            world = world_size or int(os.environ.get("WORLD_SIZE", "1"))
            return phantom(world) if world > 1 else c.TCPStore(host_name, port, world_size, *rest, **options)

    class FileStore(c.FileStore):
        def __new__(cls, path, world_size=-1):
            return phantom(world_size) if world_size > 1 else c.FileStore(path, world_size)

    create_real = rendezvous._create_c10d_store
    rendezvous._create_c10d_store = create_store
    rendezvous.FileStore = FileStore
    distributed = sys.modules["torch.distributed"]  # not yet an attribute of torch
    distributed.TCPStore, distributed.FileStore = TCPStore, FileStore


def _note_ranks(c10d):
    original = c10d.init_process_group

    def init_process_group(*arguments, **options):
        from torch.optim.optimizer import register_optimizer_step_post_hook

        # Its thread would ask the store from C++ while the interpreter ends.
        os.environ.setdefault("TORCH_NCCL_ENABLE_MONITORING", "0")
        original(*arguments, **options)
        register_optimizer_step_post_hook(lambda *_: _wait_for_watchdog(c10d))
        local = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE")
        ranks.found(c10d.get_rank(), c10d.get_world_size(), local and int(local))

    c10d.init_process_group = init_process_group


def _wait_for_watchdog(c10d):
    """A thread that looks every 100 ms lets go of the tensors of finished collectives. It must keep up with steps that
    take no time here, or it decides by chance what is still held."""
    for group in list(c10d._world.pg_map):
        with suppress(RuntimeError):  # only NCCL has such a thread
            group._wait_for_pending_works()


# ---- process groups


def _make_groups_alone(c10d):
    def split_group(parent_pg=None, split_ranks=None, timeout=None, pg_options=None, group_desc=None, **_):
        """A group of its own instead of one that is split off: NCCL's split would not tell how many ranks it has."""
        parent = parent_pg or c10d._get_default_group()
        everyone = c10d.get_process_group_ranks(parent)
        mine = next((r for r in split_ranks if everyone.index(c10d.get_rank()) in r), None)
        if mine is None:
            return c10d.GroupMember.NON_GROUP_MEMBER
        group = [everyone[rank] for rank in mine]
        return c10d.new_group(group, timeout, None, pg_options, use_local_synchronization=True, group_desc=group_desc)

    c10d.split_group = split_group
    c10d._get_split_source = lambda _: None
    c10d._create_process_group_wrapper = lambda wrapped_pg, *_, **__: wrapped_pg  # checks what the peers are doing
    for name in ("Device", "create_device", "create_default_device", "_Options"):
        if hasattr(c.ProcessGroupGloo, name):
            setattr(PhantomGloo, name, getattr(c.ProcessGroupGloo, name))
    c10d.ProcessGroupGloo = PhantomGloo
    c10d.monitored_barrier = lambda *_, **__: None
    if hasattr(c, "FakeProcessGroup"):
        c.FakeProcessGroup._set_sequence_number_for_group = lambda _: None  # asked of Gloo, not supported by it


def _completed(result):
    future = torch.futures.Future()
    future.set_result(result)
    return c._create_work_from_future(future)


def _collective(function):
    def run(self, *arguments):
        with torch._C._AutoDispatchBelowAutograd():
            return _completed(function(self, *arguments))

    return run


class _AnyGloo(type(c.Backend)):
    """What PhantomGloo makes instead of itself passes for one too."""

    def __instancecheck__(cls, instance):
        return issubclass(type(instance), (cls, c.ProcessGroupGloo, c.FakeProcessGroup))


class PhantomGloo(c.Backend, metaclass=_AnyGloo):
    """Gloo in which every rank holds what this one holds."""

    options = None

    def __new__(cls, store, rank, size, *rest, **options):
        if size == 1:
            return c.ProcessGroupGloo(store, rank, size, *rest, **options)
        if not _backends_can_be_written_in_python():
            # PyTorch before 2.10 or so. Its own stand-in gathers copies; all else stays as it is.
            ranks.assumed("Gloo's collectives other than gathering leave tensors as they are")
            make = getattr(c.FakeProcessGroup, "_create_internal", c.FakeProcessGroup)
            return make(rank, size)
        return super().__new__(cls)

    def __init__(self, store, rank, size, *_, timeout=None, **__):
        super().__init__(rank, size)
        self.options = SimpleNamespace(_timeout=timeout)

    def getBackendName(self):
        return "gloo"

    def _set_sequence_number_for_group(self):
        pass

    def _reduced(self, tensor, operation):
        if operation == c.ReduceOp.SUM:
            tensor.mul_(self.size())
        elif operation == c.ReduceOp.PRODUCT:
            tensor.pow_(self.size())
        elif operation == c.ReduceOp.BXOR and self.size() % 2 == 0:
            tensor.zero_()
        return tensor

    @_collective
    def broadcast(self, tensors, options):
        if options.rootRank != self.rank():
            ranks.assumed("broadcast from another rank over Gloo")
        return tensors

    @_collective
    def allreduce(self, tensors, options):
        return [self._reduced(tensor, options.reduceOp) for tensor in tensors]

    allreduce_coalesced = allreduce

    @_collective
    def reduce(self, tensors, options):
        mine = options.rootRank == self.rank()
        return [self._reduced(tensor, options.reduceOp) if mine else tensor for tensor in tensors]

    @_collective
    def allgather(self, outputs, inputs, options=None):
        for output, source in zip(outputs, inputs, strict=True):
            for tensor in output:
                tensor.copy_(source)
        return outputs

    @_collective
    def allgather_coalesced(self, outputs, inputs, options=None):
        for output in outputs:
            for tensor, source in zip(output, inputs, strict=True):
                tensor.copy_(source)
        return outputs

    @_collective
    def all_gather_single(self, output, source, options=None):
        output.view(self.size(), -1).copy_(source.reshape(1, -1))
        return [output]

    @_collective
    def all_gather_single_coalesced(self, outputs, inputs, options=None):
        for output, source in zip(outputs, inputs, strict=True):
            output.view(self.size(), -1).copy_(source.reshape(1, -1))
        return outputs

    @_collective
    def gather(self, outputs, inputs, options):
        for tensor in outputs[0] if options.rootRank == self.rank() else ():
            tensor.copy_(inputs[0])
        return outputs

    @_collective
    def scatter(self, outputs, inputs, options):
        if options.rootRank == self.rank():
            outputs[0].copy_(inputs[0][self.rank()])
        else:
            ranks.assumed("scatter from another rank over Gloo")
            outputs[0].zero_()
        return outputs

    @_collective
    def reduce_scatter(self, outputs, inputs, options):
        for output, source in zip(outputs, inputs, strict=True):
            self._reduced(output.copy_(source[self.rank()]), options.reduceOp)
        return outputs

    @_collective
    def reduce_scatter_single(self, output, source, options):
        self._reduced(output.copy_(source.chunk(self.size())[self.rank()].view_as(output)), options.reduceOp)
        return [output]

    @_collective
    def reduce_scatter_single_coalesced(self, outputs, inputs, options):
        for output, source in zip(outputs, inputs, strict=True):
            self._reduced(output.copy_(source.chunk(self.size())[self.rank()].view_as(output)), options.reduceOp)
        return outputs

    @_collective
    def alltoall(self, outputs, inputs, options=None):
        for output in outputs:
            _fill(output, inputs[self.rank()])
        return outputs

    @_collective
    def all_to_all_single(self, output, source, output_sizes, input_sizes, options=None):
        mine = (source.split(input_sizes) if input_sizes else source.chunk(self.size()))[self.rank()]
        for part in output.split(output_sizes) if output_sizes else output.chunk(self.size()):
            _fill(part, mine)
        return [output]

    @_collective
    def send(self, tensors, destination, tag):
        return tensors

    @_collective
    def recv(self, tensors, source, tag):
        ranks.assumed("what another rank sends over Gloo reads as zeros")
        return [tensor.zero_() for tensor in tensors]

    def recv_anysource(self, tensors, tag):
        return self.recv(tensors, -1, tag)

    @_collective
    def barrier(self, options=None):
        return []

    # Names before PyTorch 2.14.
    _allgather_base, allgather_into_tensor_coalesced = all_gather_single, all_gather_single_coalesced
    _reduce_scatter_base, reduce_scatter_tensor_coalesced = reduce_scatter_single, reduce_scatter_single_coalesced
    alltoall_base = all_to_all_single


def _backends_can_be_written_in_python():
    class Probe(c.Backend):
        pass

    try:
        Probe(0, 1)
    except TypeError:
        return False
    return True


def _fill(output, source):
    """What a peer sends may have another size than what this rank sends: it is repeated or cut."""
    if source.numel() == 0:
        output.zero_()
    else:
        flat = source.reshape(-1)
        output.copy_(flat.repeat(-(-output.numel() // flat.numel()))[: output.numel()].view_as(output))


# ---- collectives of Python objects


def _mirror_objects(c10d):
    """The tensors are still sent, for the memory that they take; what is read from them is this rank's object."""
    encode, decode, scatter = c10d._object_to_tensor, c10d._tensor_to_object, c10d.scatter_object_list
    broadcast = c10d.broadcast_object_list
    last = []

    def object_to_tensor(obj, *arguments, **options):
        last[:] = [pickle.dumps(obj)]
        return encode(obj, *arguments, **options)

    def tensor_to_object(tensor, *arguments, **options):
        return pickle.loads(last[0]) if last else decode(tensor, *arguments, **options)

    def broadcast_object_list(object_list, src=None, group=None, device=None, group_src=None, **options):
        if _is_source(c10d, src, group, group_src):
            broadcast(object_list, src, group, device, **_given(group_src=group_src), **options)
        else:
            ranks.assumed("an object that another rank broadcasts: what was here, or what this rank sent last")
            object_list[:] = [pickle.loads(last[0]) if last and o is None else o for o in object_list]

    def scatter_object_list(
        scatter_object_output_list, scatter_object_input_list=None, src=None, group=None, group_src=None
    ):
        output, inputs = scatter_object_output_list, scatter_object_input_list
        if _is_source(c10d, src, group, group_src):
            scatter(output, inputs, src, group, **_given(group_src=group_src))
            output[0] = inputs[c10d.get_rank(group)]
        else:
            ranks.assumed("an object that another rank scatters stays what it was here")

    def recv_object_list(object_list, src=None, *_, **__):
        ranks.assumed("an object that another rank sends stays what it was here")
        return src or 0

    c10d._object_to_tensor, c10d._tensor_to_object = object_to_tensor, tensor_to_object
    c10d.broadcast_object_list, c10d.scatter_object_list = broadcast_object_list, scatter_object_list
    c10d.recv_object_list = recv_object_list


# ---- torch.distributed.checkpoint


def _coordinate_alone(utils):
    """Whichever rank this is, it makes the plan for all."""
    original = utils._DistWrapper.__init__

    def __init__(self, group, use_dist, coordinator_rank):
        if use_dist and torch.distributed.get_world_size(group) > 1:
            coordinator_rank = torch.distributed.get_rank(group)
        original(self, group, use_dist, coordinator_rank)

    utils._DistWrapper.__init__ = __init__


def _save_alone(planner):
    """The mirrored plans name this rank's shards N times: all are its own to write, and they are not the whole."""
    validate = planner._validate_global_plan

    def dedup_save_plans(plans, *_, **__):
        mine = torch.distributed.get_rank() if len(plans) > 1 else 0
        return [plan if i == mine else replace(plan, items=[]) for i, plan in enumerate(plans)]

    planner.dedup_save_plans = dedup_save_plans
    planner._validate_global_plan = lambda _, metadata: validate([], replace(metadata, state_dict_metadata={}))


def _know_all_states(fsdp):
    """With `use_orig_params` a rank has optimizer states of some parameters only, and its peers have the others'."""
    original = fsdp._map_param_key_to_optim_keys

    def map_keys(states, group, key_to_param, param_to_fqns, fqn_to_fsdp, merge_keys=False):
        alone = torch.distributed.get_world_size(group) == 1
        keys, to_param = original(states, group, key_to_param, param_to_fqns, fqn_to_fsdp, merge_keys or not alone)
        if merge_keys and to_param and not alone:
            names = [tuple(param_to_fqns[param]) for param in key_to_param.values() if param.requires_grad]
            keys = sorted({*keys, *(fsdp._OptimStateKey(fqns, fqns[0] in fqn_to_fsdp) for fqns in names)})
        return keys, to_param

    fsdp._map_param_key_to_optim_keys = map_keys


def _is_source(c10d, src, group, group_src):
    if group_src is not None:
        return group_src == c10d.get_rank(group)
    return (src or 0) == c10d.get_rank()


def _given(**options):
    return {name: value for name, value in options.items() if value is not None}

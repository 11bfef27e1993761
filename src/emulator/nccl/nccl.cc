// NCCL. This process is one rank, and its peers are imagined to hold the same data: a collective gives back what this
// rank put in. A communicator takes the device memory that the card's description states, all of it when it is made, or
// else what NCCL's source takes (gpus/nccl_memory.h), when it takes it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include "emulator/listed.h"
#include "gpus/nccl_memory.h"

using namespace vramwise::emulator;
using vramwise::Bytes;
using vramwise::NcclMemory;

namespace {

constexpr const char* kLibraries[] = {"libnccl.so.2", nullptr};
constexpr int kUnhandledCudaError = 1;
constexpr int kInvalidArgument = 4;
constexpr int kInvalidUsage = 5;

struct UniqueId {
  char internal[128];
};

struct Communicator {
  int ranks = 1;
  int rank = 0;
  int device = 0;
  NcclMemory to_take;   ///< what is not taken yet
  std::set<int> peers;  ///< with which connections exist
  Bytes taken;
};

/// Bytes of a ncclDataType_t.
std::size_t element_size(int type) {
  switch (type) {
    case 0:
    case 1:
    case 10:
    case 11:
      return 1;  // int8, uint8, float8e4m3, float8e5m2
    case 6:
    case 9:
      return 2;  // float16, bfloat16
    case 4:
    case 5:
    case 8:
      return 8;  // int64, uint64, float64
    default:
      return 4;  // int32, uint32, float32
  }
}

int library_version() {
  int version = 22000;
  const auto real = reinterpret_cast<int (*)(int*)>(real_symbol(kLibraries, "ncclGetVersion"));
  if (real != nullptr) real(&version);
  return version;
}

NcclMemory memory_of(const Machine& machine, int device, int ranks, int rank) {
  const CardSpec& card = machine.card(device);
  if (card.communicator) {
    NcclMemory stated;
    stated.creation = *card.communicator;
    return stated;
  }
  const int local = std::min(ranks, machine.spec().ranks_per_machine);
  const NcclMemory memory =
      nccl_memory({library_version(), card.capability(), ranks, local, rank % local, card.nccl_link},
                  vramwise::nccl_environment([](const char* name) -> const char* { return std::getenv(name); }));
  assume(("NCCL uses " + std::to_string(memory.channels) + " channels between cards connected by " +
          to_string(card.nccl_link))
             .c_str());
  return memory;
}

/// Takes one of the parts that are still to be taken. False: the card has not got it.
bool take(Machine& machine, Communicator& communicator, Bytes& part) {
  if (!machine.take_for_communicator(communicator.device, part)) return false;
  communicator.taken += part;
  part = Bytes(0);
  return true;
}

int create(Communicator** result, int ranks, int rank) {
  if (ranks < 1 || rank < 0 || rank >= ranks) return kInvalidArgument;
  Communicator made;
  made.ranks = ranks;
  made.rank = rank;
  const int code = driver_on_device([&](Machine& machine, int device) {
    made.device = device;
    made.to_take = memory_of(machine, device, ranks, rank);
    return take(machine, made, made.to_take.creation) ? kSuccess : kOutOfMemory;
  });
  if (code != kSuccess) return kUnhandledCudaError;
  *result = new Communicator(std::move(made));
  return 0;
}

int destroy(Communicator* communicator) {
  if (communicator == nullptr) return kInvalidArgument;
  driver([&](Machine& machine) {
    machine.give_back_of_communicator(communicator->device, communicator->taken);
    return kSuccess;
  });
  delete communicator;
  return 0;
}

enum class Pattern { kRing, kAllReduce };

/// The connections of the first collective that needs them; which algorithm NCCL would choose for a size is not
/// modelled, so an all-reduce makes those of all that it may choose from.
bool connect(Machine& machine, Communicator& communicator, Pattern pattern) {
  if (!take(machine, communicator, communicator.to_take.ring)) return false;
  if (pattern == Pattern::kRing) return true;
  return take(machine, communicator, communicator.to_take.tree) &&
         take(machine, communicator, communicator.to_take.nvls);
}

int connect_peers(Communicator* communicator, int first, int last) {
  return driver([&](Machine& machine) {
    for (int peer = first; peer < last; ++peer) {
      if (peer == communicator->rank || communicator->peers.contains(peer)) continue;
      if (!machine.take_for_communicator(communicator->device, communicator->to_take.peer)) return kUnhandledCudaError;
      communicator->taken += communicator->to_take.peer;
      communicator->peers.insert(peer);
    }
    return 0;
  });
}

/// Copies `bytes` of this rank's data into `copies` consecutive places.
int mirror(const char* name, Communicator* communicator, void* stream, void* to, const void* from, std::size_t bytes,
           int copies, Pattern pattern = Pattern::kRing) {
  return driver([&](Machine& machine) -> int {
    if (!connect(machine, *communicator, pattern)) return kUnhandledCudaError;
    machine.work(stream, communicator->device, Costs::kCollectiveNs);
    ++machine.recorder().computed[name];
    for (int i = 0; i < copies; ++i) {
      machine.memory().contents().copy(static_cast<char*>(to) + static_cast<std::size_t>(i) * bytes, from,
                                       Bytes(static_cast<std::int64_t>(bytes)));
    }
    return kSuccess;
  });
}

}  // namespace

VRAMWISE_ENTRY int ncclGetVersion(int* version) {
  *version = library_version();
  return 0;
}
VRAMWISE_ENTRY const char* ncclGetErrorString(int code) {
  const auto real = reinterpret_cast<const char* (*)(int)>(real_symbol(kLibraries, "ncclGetErrorString"));
  return real != nullptr ? real(code) : "NCCL error";
}
VRAMWISE_ENTRY const char* ncclGetLastError(const Communicator*) { return ""; }

VRAMWISE_ENTRY int ncclGetUniqueId(UniqueId* id) {
  std::memset(id, 0, sizeof *id);
  std::strcpy(id->internal, "vramwise");
  return 0;
}
VRAMWISE_ENTRY int ncclCommGetUniqueId(Communicator*, UniqueId* id) { return ncclGetUniqueId(id); }

VRAMWISE_ENTRY int ncclCommInitRank(Communicator** communicator, int ranks, UniqueId, int rank) {
  return create(communicator, ranks, rank);
}
VRAMWISE_ENTRY int ncclCommInitRankConfig(Communicator** communicator, int ranks, UniqueId, int rank, void*) {
  return create(communicator, ranks, rank);
}
VRAMWISE_ENTRY int ncclCommInitRankScalable(Communicator** communicator, int ranks, int rank, int, UniqueId*, void*) {
  return create(communicator, ranks, rank);
}
VRAMWISE_ENTRY int ncclCommInitAll(Communicator** communicators, int count, const int* devices) {
  const int before = thread_state().device;
  for (int i = 0; i < count; ++i) {
    thread_state().device = devices != nullptr ? devices[i] : i;
    const int code = create(&communicators[i], count, i);
    thread_state().device = before;
    if (code != 0) return code;
  }
  return 0;
}
// Which ranks share a colour is not known; this rank's group is taken to be all of them, as for the groups of data
// parallelism.
VRAMWISE_ENTRY int ncclCommSplit(Communicator* parent, int color, int, Communicator** child, void*) {
  if (color < 0) {
    *child = nullptr;
    return 0;
  }
  assume("every rank joins a communicator that is split off another");
  return create(child, parent->ranks, parent->rank);
}

VRAMWISE_ENTRY int ncclCommFinalize(Communicator*) { return 0; }
VRAMWISE_ENTRY int ncclCommDestroy(Communicator* communicator) { return destroy(communicator); }
VRAMWISE_ENTRY int ncclCommAbort(Communicator* communicator) { return destroy(communicator); }

VRAMWISE_ENTRY int ncclCommGetAsyncError(Communicator*, int* error) {
  *error = 0;
  return 0;
}
VRAMWISE_ENTRY int ncclCommCount(const Communicator* communicator, int* count) {
  *count = communicator->ranks;
  return 0;
}
VRAMWISE_ENTRY int ncclCommUserRank(const Communicator* communicator, int* rank) {
  *rank = communicator->rank;
  return 0;
}
VRAMWISE_ENTRY int ncclCommCuDevice(const Communicator* communicator, int* device) {
  *device = communicator->device;
  return 0;
}

VRAMWISE_IGNORED(ncclGroupStart)
VRAMWISE_IGNORED(ncclGroupEnd)
VRAMWISE_IGNORED(ncclCommRegister)
VRAMWISE_IGNORED(ncclCommDeregister)
VRAMWISE_IGNORED(ncclRedOpDestroy)
VRAMWISE_ENTRY int ncclRedOpCreatePreMulSum(int* operation, void*, int, int, Communicator*) {
  *operation = 5;  // the first number after the built-in operations
  return 0;
}

VRAMWISE_ENTRY int ncclMemAlloc(void** pointer, std::size_t size) {
  return driver_on_device([&](Machine& machine, int device) {
           *pointer = machine.memory().allocate(device, Bytes(static_cast<std::int64_t>(size)), machine.next_moment());
           return *pointer == nullptr ? kOutOfMemory : kSuccess;
         }) == kSuccess
             ? 0
             : kUnhandledCudaError;
}
VRAMWISE_ENTRY int ncclMemFree(void* pointer) {
  return driver([&](Machine& machine) { return machine.memory().free(pointer) ? kSuccess : kInvalidValue; }) == kSuccess
             ? 0
             : kInvalidUsage;
}

// ---- collectives
// ---------------------------------------------------------------------------------------------------------------

VRAMWISE_ENTRY int ncclAllReduce(const void* from, void* to, std::size_t count, int type, int,
                                 Communicator* communicator, void* stream) {
  return mirror("ncclAllReduce", communicator, stream, to, from, count * element_size(type), 1, Pattern::kAllReduce);
}
VRAMWISE_ENTRY int ncclReduce(const void* from, void* to, std::size_t count, int type, int, int root,
                              Communicator* communicator, void* stream) {
  return mirror("ncclReduce", communicator, stream, to, from, count * element_size(type),
                communicator->rank == root ? 1 : 0);
}
VRAMWISE_ENTRY int ncclBroadcast(const void* from, void* to, std::size_t count, int type, int,
                                 Communicator* communicator, void* stream) {
  return mirror("ncclBroadcast", communicator, stream, to, from, count * element_size(type), 1);
}
VRAMWISE_ENTRY int ncclBcast(void* data, std::size_t count, int type, int, Communicator* communicator, void* stream) {
  return mirror("ncclBcast", communicator, stream, data, data, count * element_size(type), 1);
}
VRAMWISE_ENTRY int ncclAllGather(const void* from, void* to, std::size_t count, int type, Communicator* communicator,
                                 void* stream) {
  return mirror("ncclAllGather", communicator, stream, to, from, count * element_size(type), communicator->ranks);
}
VRAMWISE_ENTRY int ncclReduceScatter(const void* from, void* to, std::size_t count, int type, int,
                                     Communicator* communicator, void* stream) {
  const std::size_t bytes = count * element_size(type);
  return mirror("ncclReduceScatter", communicator, stream, to,
                static_cast<const char*>(from) + static_cast<std::size_t>(communicator->rank) * bytes, bytes, 1);
}
VRAMWISE_ENTRY int ncclAlltoAll(const void* from, void* to, std::size_t count, int type, Communicator* communicator,
                                void* stream) {
  if (const int code = connect_peers(communicator, 0, communicator->ranks); code != 0) return code;
  return mirror("ncclAlltoAll", communicator, stream, to, from,
                count * element_size(type) * static_cast<std::size_t>(communicator->ranks), 1);
}
VRAMWISE_ENTRY int ncclGather(const void* from, void* to, std::size_t count, int type, int root,
                              Communicator* communicator, void* stream) {
  return mirror("ncclGather", communicator, stream, to, from, count * element_size(type),
                communicator->rank == root ? communicator->ranks : 0);
}
VRAMWISE_ENTRY int ncclScatter(const void* from, void* to, std::size_t count, int type, int root,
                               Communicator* communicator, void* stream) {
  return mirror("ncclScatter", communicator, stream, to, from, count * element_size(type),
                communicator->rank == root ? 1 : 0);
}
VRAMWISE_ENTRY int ncclSend(const void*, std::size_t, int, int peer, Communicator* communicator, void*) {
  if (const int code = connect_peers(communicator, peer, peer + 1); code != 0) return code;
  return computed("ncclSend");
}
VRAMWISE_ENTRY int ncclRecv(void*, std::size_t, int, int peer, Communicator* communicator, void*) {
  if (const int code = connect_peers(communicator, peer, peer + 1); code != 0) return code;
  return computed("ncclRecv");
}

// Windows into other ranks' memory, device-side communicators, growing and shrinking: not modelled.
#define VRAMWISE_LISTED(name) VRAMWISE_REFUSED(name, kInvalidUsage)
VRAMWISE_LISTED(ncclCommGrow)
VRAMWISE_LISTED(ncclCommMemStats)
VRAMWISE_LISTED(ncclCommResume)
VRAMWISE_LISTED(ncclCommRevoke)
VRAMWISE_LISTED(ncclCommShrink)
VRAMWISE_LISTED(ncclCommSuspend)
VRAMWISE_LISTED(ncclCommWindowDeregister)
VRAMWISE_LISTED(ncclCommWindowRegister)
VRAMWISE_LISTED(ncclDevCommCreate)
VRAMWISE_LISTED(ncclDevCommDestroy)
VRAMWISE_LISTED(ncclGetLsaMultimemDevicePointer)
VRAMWISE_LISTED(ncclGetPeerDevicePointer)
VRAMWISE_LISTED(ncclGroupSimulateEnd)
VRAMWISE_LISTED(ncclPutSignal)
VRAMWISE_LISTED(ncclSignal)
VRAMWISE_LISTED(ncclWaitSignal)
VRAMWISE_LISTED(ncclWinGetUserPtr)
#include "emulator/nccl/nccl_rest.def"
#undef VRAMWISE_LISTED

// Read in NVIDIA/nccl at the tags v2.18.5 to v2.30.7:
//
// - init.cc: each connection has a buffer for each protocol: LL 8 x 512 x 8 x 16 bytes, LL128 120 x 640 x 8 x 8 bytes,
//   Simple 4 MiB.
// - transport/p2p.cc: they belong to the receiver, with a page of flags; the sender has a page. Where the receiver
// reads
//   (capability 8.0 over NVLink), Simple's buffer is the sender's. Both sizes are rounded up to 2 MiB (CUDA_IPC_MIN).
//   That makes 10 MiB and 2 MiB, which is what issue 1685 counts in a log.
// - transport/shm.cc: without peer access the buffers are in host memory.
// - include/alloc.h: since 2.19 memory comes from cuMemCreate, whose smallest piece is 2 MiB. channel.cc takes three
//   small pieces for each channel, init.cc two for the communicator.
// - graph/paths.cc: channels for point-to-point are the next power of two; all of them are initialized at once.
// - transport/nvls.cc: for each channel and local rank two buffers of 8 x NVLS_CHUNKSIZE (128 KiB); up to 2.20 of 4
// MiB;
//   up to 2.21 for all channels, then for 16 (24 on capability 10.0); and one small piece of credits.
// - init.cc, transport.cc: since 2.22 connections are made by the first collective that needs them. Before, creation
//   makes them.
// - transport/net.cc: a channel that leaves the machine has 10 MiB on either side (LL128 and Simple; GPUDirect RDMA).
//
// Checked against issue 964 (A100 with NVLink, before 2.19): a group of more than two ranks took 144 MB more than one
// of two, which is the tree's receiving half for 24 channels, 24 x 6 MiB.
#include "gpus/nccl_memory.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "base/units.h"

namespace vramwise {
namespace {

constexpr Bytes kPiece = Bytes::mib(2);
constexpr Bytes kPage = Bytes::kib(4);
constexpr int kMostChannels = 64;  // MAXCHANNELS; 32 before 2.27

struct LinkName {
  NcclLink link;
  const char* name;
};
constexpr std::array<LinkName, 4> kLinkNames = {{{NcclLink::kNvSwitch, "nvswitch"},
                                                 {NcclLink::kNvLink, "nvlink"},
                                                 {NcclLink::kPcie, "pcie"},
                                                 {NcclLink::kHost, "host"}}};

/// Logs of "N coll channels": A100 and H100 with NVSwitch 24 (NVIDIA/nccl-tests issue 100, nccl issue 1259), PCIe and
/// host 2, bridged pairs 4 (nccl issue 713). A communicator of one rank has 32 ("Channel 00/32").
int usual_channels(const NcclCommunicator& communicator) {
  if (communicator.ranks == 1) return 32;
  switch (communicator.link) {
    case NcclLink::kNvSwitch:
      return 24;
    case NcclLink::kNvLink:
      return 4;
    case NcclLink::kPcie:
    case NcclLink::kHost:
      return 2;
  }
  return 2;
}

int power_of_two_from(int value) {
  int power = 1;
  while (power < value) power *= 2;
  return power;
}

/// The two sides of a connection to a peer on this machine.
struct Connection {
  Bytes send;
  Bytes receive;
};

Connection connection_of(const NcclCommunicator& communicator, const NcclEnvironment& environment) {
  if (communicator.link == NcclLink::kHost || !environment.peer_access) return {};
  const Bytes ll = environment.ll_buffer.value_or(Bytes(std::int64_t{8} * 512 * 8 * 16));
  const Bytes ll128 = environment.ll128_buffer.value_or(Bytes(std::int64_t{120} * 640 * 8 * 8));
  const Bytes simple = environment.simple_buffer.value_or(Bytes::mib(4));
  const bool reads = communicator.capability == 80 && communicator.link != NcclLink::kPcie;
  return {(kPage + (reads ? simple : Bytes(0))).rounded_up(kPiece),
          (kPage + ll + ll128 + (reads ? Bytes(0) : simple)).rounded_up(kPiece)};
}

bool has_nvls(const NcclCommunicator& communicator, const NcclEnvironment& environment) {
  return communicator.link == NcclLink::kNvSwitch && communicator.capability >= 90 && communicator.local_ranks > 1 &&
         environment.nvls && communicator.version >= 21700;
}

Bytes nvls_buffers(const NcclCommunicator& communicator, int channels) {
  const int used = communicator.version < 22200 ? channels : communicator.capability >= 100 ? 24 : 16;
  const Bytes buffer = communicator.version < 22100 ? Bytes::mib(4) : Bytes::mib(1);
  return (buffer * 2 * used * communicator.local_ranks).rounded_up(kPiece);
}

/// A rank in the middle of its machine's chain has neighbours on both sides; the ring has made half of the connections.
Bytes tree_beyond_ring(const NcclCommunicator& communicator, const Connection& connection, int channels) {
  if (communicator.local_ranks <= 2) return Bytes(0);
  Bytes bytes;
  if (communicator.local_rank < communicator.local_ranks - 1) bytes += connection.receive;
  if (communicator.local_rank > 0) bytes += connection.send;
  return bytes * channels;
}

std::optional<int> number(const char* text) {
  const auto value = text == nullptr ? std::nullopt : parse_integer(text);
  if (!value || *value < 0 || *value > (1 << 30)) return std::nullopt;
  return static_cast<int>(*value);
}

}  // namespace

std::optional<NcclLink> parse_nccl_link(std::string_view text) {
  for (const auto& known : kLinkNames) {
    if (text == known.name) return known.link;
  }
  return std::nullopt;
}

std::string to_string(NcclLink link) {
  for (const auto& known : kLinkNames) {
    if (link == known.link) return known.name;
  }
  return "";
}

NcclLink usual_nccl_link(std::string_view card_name, int capability) {
  const std::string name = to_lower(card_name);
  const auto has = [&](const char* word) { return name.find(word) != std::string::npos; };
  if (has("geforce") || has("titan")) return NcclLink::kHost;
  if (has("pcie") || has("nvl") || has("rtx") || has("quadro")) return NcclLink::kPcie;
  // The chips of servers: 7.0, 8.0, 9.0, 10.0, 10.3. On boards without NVLink they are named PCIe.
  const bool server_chip = capability == 70 || capability == 80 || capability == 90 || capability / 10 == 10;
  return server_chip ? NcclLink::kNvSwitch : NcclLink::kPcie;
}

NcclEnvironment nccl_environment(const char* (*get)(const char*)) {
  NcclEnvironment environment;
  const auto either = [&](const char* a, const char* b) {
    const auto first = number(get(a));
    return first ? first : number(get(b));
  };
  const auto bytes = [&](const char* name) {
    const auto value = number(get(name));
    return value ? std::optional(Bytes(*value)) : std::nullopt;
  };
  environment.min_channels = either("NCCL_MIN_NCHANNELS", "NCCL_MIN_CTAS");
  environment.max_channels = either("NCCL_MAX_NCHANNELS", "NCCL_MAX_CTAS");
  environment.simple_buffer = bytes("NCCL_BUFFSIZE");
  environment.ll_buffer = bytes("NCCL_LL_BUFFSIZE");
  environment.ll128_buffer = bytes("NCCL_LL128_BUFFSIZE");
  environment.cumem = number(get("NCCL_CUMEM_ENABLE")).value_or(1) != 0;
  environment.nvls = number(get("NCCL_NVLS_ENABLE")).value_or(1) != 0;
  environment.peer_access = number(get("NCCL_P2P_DISABLE")).value_or(0) == 0;
  environment.connects_on_demand = number(get("NCCL_RUNTIME_CONNECT")).value_or(1) != 0;
  return environment;
}

NcclMemory nccl_memory(const NcclCommunicator& communicator, const NcclEnvironment& environment) {
  NcclMemory memory;
  int channels = usual_channels(communicator);
  if (environment.max_channels) channels = std::min(channels, *environment.max_channels);
  if (environment.min_channels) channels = std::max(channels, *environment.min_channels);
  channels = std::clamp(channels, 1, kMostChannels);
  memory.channels = channels;
  memory.point_to_point_channels = power_of_two_from(channels);

  const bool cumem = environment.cumem && communicator.version >= 21900;
  // Through cudaMalloc, small pieces share one of 2 MiB.
  memory.creation = cumem ? kPiece * (3 * memory.point_to_point_channels + 2) : kPiece;
  const Connection connection = connection_of(communicator, environment);
  if (communicator.ranks > 1) {
    memory.ring = (connection.send + connection.receive) * channels;
    memory.tree = tree_beyond_ring(communicator, connection, channels);
    memory.peer = (connection.send + connection.receive) * memory.point_to_point_channels;
  }
  if (communicator.local_ranks > 0 && communicator.local_ranks < communicator.ranks) {
    // Channels enter and leave the machine at one rank each.
    const Connection network = {Bytes::mib(10), Bytes::mib(10)};
    const int leaving = std::max(1, channels / communicator.local_ranks);
    memory.ring += (network.send + network.receive - connection.send - connection.receive) * leaving;
  }
  if (has_nvls(communicator, environment)) {
    memory.creation += kPiece;  // credits
    memory.nvls = nvls_buffers(communicator, channels);
  }
  const bool on_demand = cumem && communicator.version >= 22200 && environment.connects_on_demand;
  if (!on_demand) {
    memory.creation += memory.ring + memory.tree + memory.nvls;
    memory.ring = memory.tree = memory.nvls = Bytes(0);
  }
  return memory;
}

Bytes usual_communicator(std::string_view card_name, int capability, int ranks) {
  constexpr int kVersion = 23007;  // of PyTorch 2.14's wheels
  const NcclMemory memory = nccl_memory({.version = kVersion,
                                         .capability = capability,
                                         .ranks = ranks,
                                         .local_ranks = ranks,
                                         .local_rank = 0,
                                         .link = usual_nccl_link(card_name, capability)},
                                        {});
  return memory.creation + memory.ring + memory.tree + memory.nvls;
}

}  // namespace vramwise

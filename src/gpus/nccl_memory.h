// Device memory that NCCL takes for a communicator, by rank: what its source allocates, for the channels that it would
// use. How many channels it uses follows from a search over the machine's links; here it is what logs of such machines
// show, or what the environment limits it to.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace vramwise {

/// How NCCL moves data between the cards of one machine.
enum class NcclLink {
  kNvSwitch,  ///< NVLink to every other card (SXM boards)
  kNvLink,    ///< NVLink bridges between pairs
  kPcie,      ///< peer access over PCIe
  kHost,      ///< through host memory: no peer access (GeForce cards)
};

/// "nvswitch", "nvlink", "pcie", "host"; nullopt for anything else.
std::optional<NcclLink> parse_nccl_link(std::string_view text);
std::string to_string(NcclLink link);

/// The link that a card of that name usually has: boards for servers NVSwitch, GeForce none, other cards PCIe.
NcclLink usual_nccl_link(std::string_view card_name, int capability);

/// What NCCL_… variables set, where they are set.
struct NcclEnvironment {
  std::optional<int> min_channels;     ///< NCCL_MIN_NCHANNELS, NCCL_MIN_CTAS
  std::optional<int> max_channels;     ///< NCCL_MAX_NCHANNELS, NCCL_MAX_CTAS
  std::optional<Bytes> simple_buffer;  ///< NCCL_BUFFSIZE
  std::optional<Bytes> ll_buffer;      ///< NCCL_LL_BUFFSIZE
  std::optional<Bytes> ll128_buffer;   ///< NCCL_LL128_BUFFSIZE
  bool cumem = true;                   ///< NCCL_CUMEM_ENABLE
  bool nvls = true;                    ///< NCCL_NVLS_ENABLE
  bool peer_access = true;             ///< NCCL_P2P_DISABLE
  bool connects_on_demand = true;      ///< NCCL_RUNTIME_CONNECT
};

/// Reads them through `get` (a name → its value, or null).
NcclEnvironment nccl_environment(const char* (*get)(const char*));

struct NcclCommunicator {
  int version = 0;      ///< as ncclGetVersion: 23007
  int capability = 80;  ///< of the cards: 86 for 8.6
  int ranks = 1;
  int local_ranks = 1;  ///< on this machine
  int local_rank = 0;
  NcclLink link = NcclLink::kNvSwitch;
};

/// Of one rank, on its card.
struct NcclMemory {
  int channels = 0;  ///< for collectives
  int point_to_point_channels = 0;
  Bytes creation;  ///< by ncclCommInitRank
  Bytes ring;      ///< first collective that goes around a ring (all do but a large all-reduce with NVLS)
  Bytes tree;      ///< first all-reduce, beyond the ring
  Bytes nvls;      ///< first all-reduce through an NVSwitch (capability 9.0 and later)
  Bytes peer;      ///< first exchange with a peer (send, receive, all-to-all)
};

NcclMemory nccl_memory(const NcclCommunicator& communicator, const NcclEnvironment& environment);

/// What one communicator of such cards, all on one machine, takes of each once every kind of collective has been used.
Bytes usual_communicator(std::string_view card_name, int capability, int ranks);

}  // namespace vramwise

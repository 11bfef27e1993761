// What an emulated card is: the figures that CUDA and NVML would report of it. They come as text from whoever starts
// the dry run.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "gpus/nccl_memory.h"

namespace vramwise::emulator {

/// Limits that follow from the compute capability alone (CUDA C++ Programming Guide, "Technical Specifications per
/// Compute Capability").
struct CapabilityLimits {
  int threads_per_sm = 2048;
  int blocks_per_sm = 32;
  int shared_kib_per_sm = 228;
  int shared_kib_per_block_optin = 227;
};

struct CardSpec {
  std::string name;
  std::array<std::uint8_t, 16> uuid{};
  Bytes total;                        ///< as CUDA sees it (cudaMemGetInfo's total)
  Bytes nvml_total;                   ///< as NVML and nvidia-smi show it
  Bytes context;                      ///< what a process' CUDA context takes from the card before its first allocation
  Bytes other;                        ///< what other processes hold
  std::optional<Bytes> communicator;  ///< device memory of one NCCL communicator; absent: as NCCL's source has it
  NcclLink nccl_link = NcclLink::kHost;
  int sm_count = 1;
  int capability_major = 8;
  int capability_minor = 0;
  int clock_khz = 1'500'000;
  int memory_clock_khz = 1'000'000;
  int memory_bus_bits = 256;
  Bytes l2_cache;
  CapabilityLimits limits;

  int capability() const { return capability_major * 10 + capability_minor; }
};

/// Faults for tests of what must survive them. Counts start at 1; 0 means never.
struct Faults {
  double fail_probability = 0;  ///< of each device allocation, by a generator that starts at `seed`
  std::uint64_t seed = 0;
  std::int64_t fail_allocation = 0;  ///< this device allocation (over all cards) fails with out-of-memory
  std::int64_t other_grows_at = 0;   ///< at this allocation another process takes `other_grows_by` of the same card
  Bytes other_grows_by;
};

struct MachineSpec {
  std::vector<CardSpec> cards;  ///< in PCI bus order, before CUDA_VISIBLE_DEVICES
  int cuda_driver_version = 13000;
  std::string driver_version = "580.65.06";
  Bytes resident_budget = Bytes::mib(512);  ///< host memory that contents of emulated device memory may take
  std::uint8_t fill = 0;                    ///< what device memory reads as where nothing is known of it
  int ranks_per_machine = 8;                ///< how many ranks of a larger group are neighbours of this one
  bool lag = false;           ///< work ends on the virtual clock some time after it was asked for, instead of at once
  bool strict = false;        ///< a call of something that is not modelled ends the process
  bool ask_libraries = true;  ///< the program's own libraries are asked where they answer without a card
  Faults faults;
};

/// The limits of a compute capability, 75 for 7.5. Unknown ones get those of the nearest known one below.
CapabilityLimits limits_of_capability(int capability);

/// Reads {"cards": [{"name", "total_bytes", …}], …}. Required for each card: name, total_bytes, capability ("8.6").
Result<MachineSpec> parse_machine(std::string_view text);

}  // namespace vramwise::emulator

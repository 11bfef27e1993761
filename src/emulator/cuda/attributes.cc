// Numbers are those of CUdevice_attribute. Values that depend on the card come from its description, or from its
// compute capability; the rest are the same on every card of capability 6.0 and later ("Technical Specifications per
// Compute Capability").
#include "emulator/cuda/attributes.h"

#include <climits>

namespace vramwise::emulator {
namespace {

struct FixedAttribute {
  int number;
  int value;
};

constexpr FixedAttribute kFixed[] = {
    {1, 1024},        // MAX_THREADS_PER_BLOCK
    {2, 1024},        // MAX_BLOCK_DIM_X
    {3, 1024},        // MAX_BLOCK_DIM_Y
    {4, 64},          // MAX_BLOCK_DIM_Z
    {5, INT_MAX},     // MAX_GRID_DIM_X
    {6, 65535},       // MAX_GRID_DIM_Y
    {7, 65535},       // MAX_GRID_DIM_Z
    {8, 48 * 1024},   // MAX_SHARED_MEMORY_PER_BLOCK
    {9, 64 * 1024},   // TOTAL_CONSTANT_MEMORY
    {10, 32},         // WARP_SIZE
    {11, INT_MAX},    // MAX_PITCH
    {12, 64 * 1024},  // MAX_REGISTERS_PER_BLOCK
    {14, 512},        // TEXTURE_ALIGNMENT
    {15, 1},          // GPU_OVERLAP
    {19, 1},          // CAN_MAP_HOST_MEMORY
    {21, 131072},     // MAXIMUM_TEXTURE1D_WIDTH
    {22, 131072},     // MAXIMUM_TEXTURE2D_WIDTH
    {23, 65536},      // MAXIMUM_TEXTURE2D_HEIGHT
    {24, 16384},      // MAXIMUM_TEXTURE3D_WIDTH
    {25, 16384},      // MAXIMUM_TEXTURE3D_HEIGHT
    {26, 16384},      // MAXIMUM_TEXTURE3D_DEPTH
    {30, 512},        // SURFACE_ALIGNMENT
    {31, 1},          // CONCURRENT_KERNELS
    {40, 2},          // ASYNC_ENGINE_COUNT
    {41, 1},          // UNIFIED_ADDRESSING
    {51, 32},         // TEXTURE_PITCH_ALIGNMENT
    {78, 1},          // STREAM_PRIORITIES_SUPPORTED
    {79, 1},          // GLOBAL_L1_CACHE_SUPPORTED
    {80, 1},          // LOCAL_L1_CACHE_SUPPORTED
    {82, 64 * 1024},  // MAX_REGISTERS_PER_MULTIPROCESSOR
    {83, 1},          // MANAGED_MEMORY
    {87, 32},         // SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO
    {89, 1},          // CONCURRENT_MANAGED_ACCESS
    {90, 1},          // COMPUTE_PREEMPTION_SUPPORTED
    {91, 1},          // CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM
    {95, 1},          // COOPERATIVE_LAUNCH
    {99, 1},          // HOST_REGISTER_SUPPORTED
    {102, 1},         // VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED
    {115, 1},         // MEMORY_POOLS_SUPPORTED
    {122, 1},         // CAN_USE_64_BIT_STREAM_MEM_OPS
    {123, 1},         // CAN_USE_STREAM_WAIT_VALUE_NOR
    {125, 1},         // IPC_EVENT_SUPPORTED
    {126, 1},         // MEM_SYNC_DOMAIN_COUNT
    {129, 1},         // UNIFIED_FUNCTION_POINTERS
    {134, -1},        // HOST_NUMA_ID
};

std::optional<int> card_attribute(const CardSpec& card, int attribute) {
  switch (attribute) {
    case 13:
      return card.clock_khz;
    case 16:
      return card.sm_count;
    case 36:
      return card.memory_clock_khz;
    case 37:
      return card.memory_bus_bits;
    case 38:
      return static_cast<int>(card.l2_cache.count());
    case 39:
      return card.limits.threads_per_sm;
    case 75:
      return card.capability_major;
    case 76:
      return card.capability_minor;
    case 81:
      return card.limits.shared_kib_per_sm * 1024;
    case 97:
      return card.limits.shared_kib_per_block_optin * 1024;
    case 106:
      return card.limits.blocks_per_sm;
    case 111:
      return card.capability_major >= 8 ? 1024 : 0;  // RESERVED_SHARED_MEMORY_PER_BLOCK
    case 120:
      return card.capability_major >= 9 ? 1 : 0;  // CLUSTER_LAUNCH
    case 127:
      return card.capability_major >= 9 ? 1 : 0;  // TENSOR_MAP_ACCESS_SUPPORTED
    default:
      return std::nullopt;
  }
}

constexpr int kLastAttribute = 147;

}  // namespace

std::optional<int> device_attribute(const Machine& machine, int device, int attribute) {
  if (const auto value = card_attribute(machine.card(device), attribute)) return value;
  if (attribute == 33) return machine.physical_index(device) + 1;  // PCI_BUS_ID
  for (const auto& fixed : kFixed) {
    if (fixed.number == attribute) return fixed.value;
  }
  if (attribute < 1 || attribute > kLastAttribute) return std::nullopt;
  return 0;  // sharing between processes, multicast, texture extents: not there
}

}  // namespace vramwise::emulator

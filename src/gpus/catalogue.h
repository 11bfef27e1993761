// The catalogue of cards: what a graphics card can hold and how fast it is, each figure with its source.
//
// The figures stand in data/gpus.csv, the documents that they come from in data/sources.csv; both are compiled in. A
// figure that no source gives is absent. A card has two totals of memory: NVML's (nvidia-smi) and CUDA's, which is
// what PyTorch can have and what an out-of-memory error names; the driver keeps the difference. Where no report of
// CUDA's total was found it is derived, and marked so: NVML's total less the reserve (the difference) of the measured
// card of the same compute capability nearest in memory. CUDA's total varies by some tens of MiB with the driver.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace vramwise {

enum class GpuVendor { kNvidia, kAmd, kIntel, kUnknown };
enum class GpuClass { kConsumer, kWorkstation, kDatacenter, kLaptop, kJetson, kSoc, kUnknown };

/// CUDA's compute capability, such as 8.9.
struct ComputeCapability {
  int major = 0;
  int minor = 0;

  auto operator<=>(const ComputeCapability&) const = default;
};

/// "8.9" → {8, 9}; nullopt for anything else.
std::optional<ComputeCapability> parse_compute_capability(std::string_view text);
std::string to_string(ComputeCapability capability);

/// Peak dense rates (no sparsity) in TFLOP/s, int8 in TOP/s; matrix units where the type has them. Consumer NVIDIA
/// cards run 16- and 8-bit floating point with FP32 accumulation (what PyTorch does) at half their advertised rate:
/// that is the figure here.
struct GpuRates {
  std::optional<double> fp32;
  std::optional<double> tf32;
  std::optional<double> fp16;
  std::optional<double> bf16;
  std::optional<double> fp8;
  std::optional<double> int8;
};

struct PcieLink {
  int generation = 0;
  int lanes = 0;

  /// Peak payload-and-header rate in one direction, after the line code (8b/10b to generation 2, 128b/130b after).
  double gb_s() const;
};

/// Keys into sources(); empty where the card lacks the figure.
struct GpuSources {
  std::string card;  ///< memory size, units, compute capability, bandwidth, PCIe
  std::string nvml;
  std::string cuda;
  std::string fp32;
  std::string matrix;  ///< the other rates
  std::string link;    ///< NVLink
};

struct GpuModel {
  std::string id;    ///< "rtx-4090": unique, what --gpu takes
  std::string name;  ///< as NVML (or the vendor's tool) prints it; variants that differ in memory can share it
  GpuVendor vendor = GpuVendor::kUnknown;
  std::string architecture;  ///< "ada"
  GpuClass kind = GpuClass::kUnknown;
  double memory_gb = 0;             ///< as sold
  std::optional<Bytes> nvml_total;  ///< what nvidia-smi shows; absent for other vendors and unified memory
  std::optional<Bytes> cuda_total;  ///< what CUDA, HIP or SYCL gives; absent where the system decides (unified memory)
  bool cuda_total_is_derived = false;
  std::optional<int> units;                             ///< SMs, compute units, Xe-cores
  std::string target;                                   ///< "8.9", "gfx1100", "bmg-g21"
  std::optional<ComputeCapability> compute_capability;  ///< NVIDIA only
  std::optional<double> bandwidth_gb_s;                 ///< memory bandwidth, 10^9 bytes a second
  GpuRates tflops;
  std::optional<PcieLink> pcie;       ///< absent for laptops (makers wire fewer lanes) and systems on a chip
  std::optional<double> nvlink_gb_s;  ///< both directions, all links
  bool unified_memory = false;        ///< shares the host's memory
  GpuSources sources;
};

/// Where a figure comes from.
struct GpuSource {
  std::string key;
  std::string kind;      ///< "vendor", "database", "measured", "derived"
  std::string document;  ///< title or address, with what it says
};

/// Reads the two tables. Errors name row and column.
Result<std::vector<GpuModel>> parse_gpu_table(std::string_view csv);
Result<std::vector<GpuSource>> parse_gpu_sources(std::string_view csv);

/// The compiled-in tables, parsed at first use; thread-safe.
const std::vector<GpuModel>& gpu_catalogue();
const std::vector<GpuSource>& gpu_sources();

/// The card of that id, or nullptr.
const GpuModel* find_gpu(std::string_view id);

/// The card that NVML (or rocm-smi, xpu-smi) calls `name`, lenient in case, spaces and maker's words. Of variants that
/// share a name: the one nearest to `total`, the first in the catalogue without it. nullptr: not in the catalogue.
const GpuModel* find_by_nvml_name(std::string_view name, std::optional<Bytes> total = std::nullopt);

/// The same card with another size of memory, in GB as sold: NVML's total in proportion (ECC keeps its share), CUDA's
/// that less the card's own reserve, and marked as derived. Its id is as --gpu takes it, "rtx-2060:8gb". `gb` > 0.
GpuModel with_memory(const GpuModel& model, double gb);

/// A card of which nothing is known but its CUDA total.
GpuModel unknown_gpu(Bytes cuda_total);

}  // namespace vramwise

// Each figure with where it was read. Those of torch 2.14.1 were read in the wheel itself where the source of that
// release leaves a doubt.
#include "gpus/cuda_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "base/text.h"
#include "base/units.h"

namespace vramwise {
namespace {

struct MeasuredContext {
  ComputeCapability capability;
  int units = 0;
  int cuda_major = 0;
  Bytes bytes;
};

// Processes that had only asked for the free memory or loaded nothing yet, as nvidia-smi or NVML shows them:
// - RTX 6000 Ada, PyTorch 2.10.0+cu130: https://github.com/unslothai/unsloth-zoo/pull/1053
// - RTX 3090, PyTorch 2.7.1+cu128, driver 610.43: https://github.com/invoke-ai/InvokeAI/issues/9413
// - RTX PRO 6000 Blackwell and RTX 4060 Ti, llama.cpp built with CUDA 13 or 12 (not said):
//   https://github.com/ggml-org/llama.cpp/pull/23604
constexpr std::array<MeasuredContext, 4> kMeasuredContexts = {{
    {{8, 9}, 142, 13, Bytes::mib(426)},
    {{8, 6}, 82, 12, Bytes::mib(256)},
    {{12, 0}, 188, 13, Bytes::mib(555)},
    {{8, 9}, 34, 12, Bytes::mib(107)},
}};

// A line through these four: 8 MiB and 2.91 MiB for each multiprocessor, which misses them by 9 MiB at most. All four
// cards keep 1,536 threads a multiprocessor, and a context reserves their stacks (1 KiB each, CU_LIMIT_STACK_SIZE); so
// a card with more or fewer threads is given that much more or less. That last step is not measured.
constexpr Bytes kContextBase = Bytes::mib(8);
constexpr Bytes kContextPerUnit = Bytes::kib(2980);
constexpr Bytes kStackPerThread = Bytes::kib(1);
constexpr int kThreadsOfMeasured = 1536;

int threads_per_unit(ComputeCapability capability) {
  // CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
  if (capability == ComputeCapability{7, 5}) return 1024;
  if (capability.minor == 0 && capability.major < 11) return 2048;  // 6.0, 7.0, 8.0, 9.0, 10.0
  if (capability.major == 6 || capability == ComputeCapability{10, 3}) return 2048;
  return kThreadsOfMeasured;
}

// The largest workspace worth believing (KiB); a value beyond it would only overflow the sum.
constexpr std::int64_t kMostKib = std::int64_t{1} << 40;

/// The numbers of one ":SIZE:COUNT" at the start of `text`, or nullopt. `length`: characters that it took.
struct SizeCount {
  std::int64_t kib = 0;
  std::int64_t count = 0;
  std::size_t length = 0;
};

std::optional<std::int64_t> digits_at(std::string_view text, std::size_t& at) {
  const std::size_t start = at;
  while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) ++at;
  return parse_integer(text.substr(start, at - start));
}

std::optional<SizeCount> size_count_at(std::string_view text) {
  std::size_t at = 1;
  if (text.empty() || text[0] != ':') return std::nullopt;
  const std::optional<std::int64_t> kib = digits_at(text, at);
  if (!kib || at >= text.size() || text[at] != ':') return std::nullopt;
  ++at;
  const std::optional<std::int64_t> count = digits_at(text, at);
  if (!count) return std::nullopt;
  return SizeCount{*kib, *count, at};
}

const std::vector<TorchBuild>& torch_builds() {
  // Machine code: torch.cuda.get_arch_list() of the 2.14.1+cu130 wheel; for cu126 RELEASE.md of PyTorch ("CUDA 12.6.3:
  // Maxwell(5.0), Pascal(6.0), Volta(7.0), Turing(7.5), Ampere(8.0, 8.6)"; Hopper left it with 2.11) and
  // https://github.com/pytorch/pytorch/issues/190385: 2.14 is the last release with CUDA 12.6 builds.
  // Drivers: CUDA Toolkit 13.0 release notes, "CUDA Toolkit and Corresponding Driver Versions" (13.0 GA: 580.65.06)
  // and, for 12.x, "Minimum Required Driver Version for CUDA Minor Version Compatibility" (525.60.13).
  static const std::vector<TorchBuild> kBuilds = {
      {"cu130", "2.14.1", {{7, 5}, {8, 0}, {8, 6}, {9, 0}, {10, 0}, {12, 0}}, {580, 65, 6}},
      {"cu126", "2.14.1", {{5, 0}, {6, 0}, {7, 0}, {7, 5}, {8, 0}, {8, 6}}, {525, 60, 13}},
  };
  return kBuilds;
}

}  // namespace

CudaContext cuda_context(ComputeCapability capability, int cuda_major, std::optional<int> units) {
  for (const MeasuredContext& measured : kMeasuredContexts) {
    if (measured.capability == capability && measured.units == units.value_or(measured.units)) {
      return {measured.bytes, measured.cuda_major == cuda_major};
    }
  }
  if (!units) return {kMeasuredContexts.front().bytes, false};
  const Bytes stacks = kStackPerThread * (threads_per_unit(capability) - kThreadsOfMeasured);
  return {kContextBase + (kContextPerUnit + stacks) * *units, false};
}

CublasWorkspace cublas_workspace(ComputeCapability capability, std::optional<std::string_view> config) {
  // aten/src/ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize: 32 MiB on Hopper and Blackwell, else
  // :4096:2:16:8 (8.125 MiB). The compiled function of the 2.14.1+cu130 wheel takes the 32 MiB for major capabilities 9
  // to 12.
  const bool large = capability.major >= 9 && capability.major <= 12;
  const Bytes standard = large ? Bytes::mib(32) : Bytes::kib(4096 * 2 + 16 * 8);
  if (!config) return {standard, false};
  std::int64_t total_kib = 0;
  bool found = false;
  for (std::size_t at = 0; at < config->size();) {
    const std::optional<SizeCount> pair = size_count_at(config->substr(at));
    if (!pair) {
      ++at;
      continue;
    }
    at += pair->length;
    found = true;
    if (pair->kib > kMostKib || (pair->kib > 0 && pair->count > kMostKib / pair->kib)) return {standard, true};
    total_kib = std::min(kMostKib, total_kib + pair->kib * pair->count);
  }
  return found ? CublasWorkspace{Bytes::kib(total_kib), false} : CublasWorkspace{standard, true};
}

Bytes cublaslt_extra_workspace(bool unified) {
  // CublasHandlePool.cpp, unified_cublas_and_lt_workspaces and parseCUDABlasLtWorkspaceSize (1,024 KiB).
  return unified ? Bytes(0) : Bytes::mib(1);
}

std::optional<DriverVersion> parse_driver_version(std::string_view text) {
  const std::vector<std::string> parts = split(trim(text), '.');
  if (parts.size() < 2 || parts.size() > 3) return std::nullopt;
  std::array<int, 3> numbers = {0, 0, 0};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::optional<std::int64_t> number = parse_integer(parts[i]);
    if (!number || *number < 0 || *number > 99999) return std::nullopt;
    numbers[i] = static_cast<int>(*number);
  }
  return DriverVersion{numbers[0], numbers[1], numbers[2]};
}

std::string to_string(DriverVersion version) {
  return fmt::format("{}.{:02}.{:02}", version.major, version.minor, version.patch);
}

bool TorchBuild::runs_on(ComputeCapability capability) const {
  return std::any_of(kernels.begin(), kernels.end(), [&](ComputeCapability kernel) {
    return kernel.major == capability.major && kernel.minor <= capability.minor;
  });
}

const TorchBuild& default_torch_build() { return torch_builds().front(); }

const TorchBuild* torch_build_for(ComputeCapability capability, std::optional<DriverVersion> driver) {
  for (const TorchBuild& build : torch_builds()) {
    if (build.runs_on(capability) && (!driver || *driver >= build.lowest_driver)) return &build;
  }
  return nullptr;
}

}  // namespace vramwise

// ledger_on_card SETTINGS.json…: the ledger against PyTorch's own count of a step on the first CUDA card, a line of
// JSON for each of the settings, one after the other from an empty card.
//
// SETTINGS: {"model": …, "step": …} as in run.json, "workspaces_bytes" of cuBLAS, and of the card "capability" (86) and
// "sm_count". tests/dryrun/test_ledger.py runs it on emulated cards; on a real one it works as well.
#include <c10/core/CachingDeviceAllocator.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "base/json.h"
#include "estimate/ledger.h"
#include "measured_run.h"

// Declared in ATen/cuda/CUDAContextLight.h, which needs CUDA's headers.
namespace at::cuda {
void clearCublasWorkspaces();  // NOLINT(readability-identifier-naming): PyTorch's
}

namespace vramwise::testing {
namespace {

std::int64_t peak_of(const c10::CachingDeviceAllocator::StatArray& stats) { return stats[0].peak; }

Result<Json> compare(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, parse_json(text, path));
  VRAMWISE_ASSIGN_OR_RETURN(const DecoderConfig config, decoder_config_from_json(json.value("model", Json())));
  VRAMWISE_ASSIGN_OR_RETURN(const StepSettings settings, step_settings_from_json(json.value("step", Json())));
  VRAMWISE_ASSIGN_OR_RETURN(const std::int64_t workspaces, json_get<std::int64_t>(json, "workspaces_bytes"));
  VRAMWISE_ASSIGN_OR_RETURN(const int capability, json_get<int>(json, "capability"));
  VRAMWISE_ASSIGN_OR_RETURN(const int sm_count, json_get<int>(json, "sm_count"));

  auto* const allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::kCUDA));
  VRAMWISE_CHECK(allocator != nullptr);
  at::cuda::clearCublasWorkspaces();
  if (allocator->initialized()) allocator->emptyCache();
  MeasuredRun run(config, settings, torch::Device(torch::kCUDA, 0));
  run.add_optimizer(".");
  run.step(1);
  allocator->resetPeakStats(0);
  run.step(3);
  const auto stats = allocator->getDeviceStats(0);
  const Ledger ledger = estimate_step(
      config, settings,
      {.backend = Backend::kCuda, .workspaces = Bytes(workspaces), .capability = capability, .sm_count = sm_count});
  return Json{{"requested_peak_bytes", peak_of(stats.requested_bytes)},
              {"allocated_peak_bytes", peak_of(stats.allocated_bytes)},
              {"reserved_peak_bytes", peak_of(stats.reserved_bytes)},
              {"predicted_allocated_bytes", ledger.allocated.count()},
              {"predicted_reserved_bytes", ledger.reserved.count()}};
}

}  // namespace
}  // namespace vramwise::testing

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "Usage: ledger_on_card SETTINGS.json…\n";
    return 2;
  }
  for (int i = 1; i < argc; ++i) {
    const vramwise::Result<vramwise::Json> result = vramwise::testing::compare(argv[i]);
    if (!result.ok()) {
      std::cerr << result.error().what << "\n";
      return static_cast<int>(result.error().code);
    }
    std::cout << result->dump() << "\n";
  }
  return 0;
}

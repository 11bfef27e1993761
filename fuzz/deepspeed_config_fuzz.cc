// Any text as a ds_config.json. What is read says nothing that a run could not have.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "estimate/deepspeed_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = vramwise::parse_deepspeed_config({reinterpret_cast<const char*>(data), size}, "ds_config.json");
  if (!config.ok()) {
    if (config.error().what.empty()) std::abort();
    return 0;
  }
  if (config->options.stage < 1 || config->options.stage > 3) std::abort();
  if (config->options.reduce_bucket_size < 1) std::abort();
  const vramwise::tape::Zero3Options& zero3 = config->options.zero3;
  for (const std::int64_t size : {zero3.prefetch_bucket_size, zero3.max_live_parameters, zero3.max_reuse_distance,
                                  zero3.persistence_threshold, zero3.model_persistence_threshold, zero3.sub_group_size})
    if (size < 0) std::abort();
  if (config->micro_batch.value_or(1) < 1 || config->passes.value_or(1) < 1) std::abort();
  return 0;
}

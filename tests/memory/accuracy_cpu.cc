// accuracy_cpu [CASE]: predicted against measured growth of resident memory, for docs/accuracy.md.
//
// Each case is a process of its own, so that none inherits what another left in malloc's heap. Measured is the peak of
// the resident set (VmHWM, reset through /proc/self/clear_refs) over building the model and two optimizer steps, less
// what was resident before and less the weights themselves; before that, a step of a tiny model has brought in the code
// of the libraries. Memory is taken as in vramwise-train (src/train/malloc_settings.h, block_store.h).
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "device/processor.h"
#include "estimate/ledger.h"
#include "measured_run.h"
#include "train/block_store.h"
#include "train/malloc_settings.h"

namespace vramwise::testing {
namespace {

struct Case {
  const char* name;
  DecoderConfig config;
  StepSettings settings;
};

DecoderConfig preset(const char* name) { return model_preset(name).value(); }

DecoderConfig medium_with_vocabulary(std::int64_t vocab_size, bool tied = true) {
  DecoderConfig config = preset("medium");
  config.vocab_size = vocab_size;
  config.tie_embeddings = tied;
  return config;
}

DecoderConfig medium_ungrouped() {
  DecoderConfig config = preset("medium");
  config.n_kv_heads = config.n_heads;
  return config;
}

/// All grow by 2.2 GiB and more.
const std::vector<Case>& cases() {
  constexpr Precision kBf16 = Precision::kBf16;
  static const DecoderConfig kSmall = preset("small");
  static const DecoderConfig kMedium = preset("medium");
  static const DecoderConfig kLarge = preset("large");
  static const std::vector<Case> kCases = {
      {"medium fp32 3 x 512", kMedium, {.micro_batch = 3, .seq_len = 512}},
      {"medium fp32 8 x 256", kMedium, {.micro_batch = 8, .seq_len = 256}},
      {"medium fp32 1 x 2048", kMedium, {.micro_batch = 1, .seq_len = 2048}},
      {"medium fp32 6 x 512, 6 blocks checkpointed",
       kMedium,
       {.micro_batch = 6, .seq_len = 512, .checkpointed_blocks = 6}},
      {"medium fp32 14 x 512, all checkpointed",
       kMedium,
       {.micro_batch = 14, .seq_len = 512, .checkpointed_blocks = 12}},
      {"medium fp32 8 x 512, optimizer offloaded",
       kMedium,
       {.micro_batch = 8, .seq_len = 512, .offload_optimizer = true}},
      {"medium fp32 3 x 512, accumulation 2",
       kMedium,
       {.micro_batch = 3, .seq_len = 512, .gradient_accumulation_steps = 2}},
      {"medium fp32 3 x 512, as many key heads", medium_ungrouped(), {.micro_batch = 3, .seq_len = 512}},
      {"medium fp32 2 x 512, vocabulary 50,304", medium_with_vocabulary(50304), {.micro_batch = 2, .seq_len = 512}},
      {"medium fp32 1 x 512, 50,304, chunks of 128",
       medium_with_vocabulary(50304),
       {.micro_batch = 1, .seq_len = 512, .loss_chunk_tokens = 128}},
      {"medium fp32 1 x 512, 50,304, untied", medium_with_vocabulary(50304, false), {.micro_batch = 1, .seq_len = 512}},
      {"medium bf16 8 x 512", kMedium, {.micro_batch = 8, .seq_len = 512, .precision = kBf16}},
      {"medium bf16 2 x 512, vocabulary 128,256",
       medium_with_vocabulary(128256),
       {.micro_batch = 2, .seq_len = 512, .precision = kBf16}},
      {"medium bf16 8 x 512, 6 blocks checkpointed",
       kMedium,
       {.micro_batch = 8, .seq_len = 512, .precision = kBf16, .checkpointed_blocks = 6}},
      {"small fp32 20 x 512", kSmall, {.micro_batch = 20, .seq_len = 512}},
      {"small fp32 160 x 64", kSmall, {.micro_batch = 160, .seq_len = 64}},
      {"large fp32 1 x 256", kLarge, {.micro_batch = 1, .seq_len = 256}},
      {"large fp32 2 x 512, optimizer offloaded",
       kLarge,
       {.micro_batch = 2, .seq_len = 512, .offload_optimizer = true}},
      {"large fp32 1 x 512, 11 blocks checkpointed",
       kLarge,
       {.micro_batch = 1, .seq_len = 512, .checkpointed_blocks = 11}},
      {"large bf16 1 x 512", kLarge, {.micro_batch = 1, .seq_len = 512, .precision = kBf16}},
      {"large bf16 2 x 512, all checkpointed",
       kLarge,
       {.micro_batch = 2, .seq_len = 512, .precision = kBf16, .checkpointed_blocks = 22}},
  };
  return kCases;
}

std::int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  }
  std::cerr << "/proc/self/status has no " << key << "\n";
  std::exit(4);
}

void warm_up(Precision precision) {
  const StepSettings settings{.micro_batch = 2, .seq_len = 64, .precision = precision, .checkpointed_blocks = 1};
  MeasuredRun run(model_preset("tiny").value(), settings);
  run.add_optimizer(std::filesystem::temp_directory_path());
  run.step(1);
}

int measure(const Case& c) {
  map_large_blocks();
  warm_up(c.settings.precision);
  use_block_store();  // only now: it would keep the warm-up's blocks
  // What the warm-up freed would otherwise be used again, and not show as growth.
  ::malloc_trim(0);
  const std::int64_t before = status_bytes("VmRSS");
  std::ofstream("/proc/self/clear_refs") << "5\n";  // VmHWM starts anew
  MeasuredRun run(c.config, c.settings);
  run.add_optimizer(std::filesystem::temp_directory_path());
  run.step(2);
  const Ledger ledger = estimate_step(
      c.config, c.settings, {.backend = Backend::kCpu, .threads = at::get_num_threads(), .has_avx512 = has_avx512()});
  // The weights are known to the byte: taken from both, so that the error is that of all that comes on top of the
  // model.
  const std::int64_t weights = ledger.at_peak.weights.count();
  const auto measured = static_cast<double>(status_bytes("VmHWM") - before - weights);
  const auto predicted = static_cast<double>(ledger.allocated.count() - weights);
  std::printf("| %-42s | %9.3f | %9.3f | %+6.2f %% |\n", c.name, predicted / (1 << 30), measured / (1 << 30),
              100 * (predicted - measured) / measured);
  return 0;
}

int run_all() {
  std::printf("| %-42s | predicted | measured  | error    |\n", "growth of resident memory, GiB");
  std::printf("|:%s-|----------:|----------:|---------:|\n", std::string(42, '-').c_str());
  std::fflush(stdout);
  int failed = 0;
  for (std::size_t i = 0; i < cases().size(); ++i) {
    const std::string number = std::to_string(i);
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/proc/self/exe", "accuracy_cpu", number.c_str(), nullptr);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0) ++failed;
  }
  return failed == 0 ? 0 : 4;
}

}  // namespace
}  // namespace vramwise::testing

int main(int argc, char** argv) {
  using namespace vramwise::testing;
  if (argc < 2) return run_all();
  const std::size_t chosen = std::strtoul(argv[1], nullptr, 10);
  if (chosen >= cases().size()) {
    std::cerr << "there are cases 0 to " << cases().size() - 1 << "\n";
    return 2;
  }
  return measure(cases()[chosen]);
}

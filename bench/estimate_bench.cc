// How long an estimate takes inside a program: three training steps on the tape, and their replay through the
// model of the caching allocator. Prints a JSON line for each configuration; bench/estimate runs this and judges.
//
//   estimate_bench CONFIG.json…
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/heap.h"
#include "estimate/training.h"
#include "io/files.h"
#include "models/config.h"

namespace vramwise {
namespace {

constexpr int kRounds = 41;

/// Milliseconds: the median of some rounds, and the least.
struct Times {
  double median = 0;
  double least = 0;
};

template <typename Work>
Times timed(const Work& work) {
  std::vector<double> rounds;
  for (int i = 0; i < kRounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    rounds.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(rounds.begin(), rounds.end());
  return {.median = rounds[kRounds / 2], .least = rounds.front()};
}

Status run(const std::string& path) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string text, read_file(path, std::int64_t{1} << 20));
  VRAMWISE_ASSIGN_OR_RETURN(const ModelConfig model, parse_model_config(text, path));
  TrainingSettings settings;
  settings.seq_len = 2048;
  const TrainingCard card{.hardware = tape::Hardware::of(90, 132), .total = {}};
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace trace, trace_training(model, settings, card.hardware));
  const Times whole = timed([&] { return estimate_training(model, settings, card).ok(); });
  const Times traced = timed([&] { return trace_training(model, settings, card.hardware).ok(); });
  fmt::print(R"({{"config": "{}", "layers": {}, "events": {}, "ms": {:.3f}, "least_ms": {:.3f}, "trace_ms": {:.3f}}})"
             "\n",
             path, model.architecture.layers, trace.events.size(), whole.median, whole.least, traced.median);
  return Done{};
}

}  // namespace
}  // namespace vramwise

int main(int argc, char** argv) {
  vramwise::keep_freed_memory();
  for (int i = 1; i < argc; ++i) {
    if (const vramwise::Status done = vramwise::run(argv[i]); !done.ok()) {
      fmt::print(stderr, "estimate_bench: {}\n", done.error().what);
      return 1;
    }
  }
  return 0;
}

// search_bench: how long `--strategy fastest` takes, card and model by card and model, in milliseconds.
//
// The process is one that has planned before: the catalogue is parsed. Each row is the median of several searches.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "plan/catalogue_card.h"
#include "plan/plan.h"

namespace vramwise {
namespace {

constexpr int kRepeats = 7;

PlanRequest request_for(const std::string& size, const std::string& card, std::size_t count, std::int64_t vocab) {
  PlanRequest request;
  request.model = model_preset(size).value();
  request.model.vocab_size = vocab;
  request.model_name = size;
  request.origin = CardOrigin::kChosen;
  request.strategy = Strategy::kFastest;
  for (std::size_t i = 0; i < count; ++i) request.cards.push_back(catalogue_card(*find_gpu(card), i));
  return request;
}

double median_ms(const PlanRequest& request, int& replays) {
  std::vector<double> times;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const Result<Plan> plan = make_plan(request);
    const auto end = std::chrono::steady_clock::now();
    replays = plan.ok() ? plan->replays : -1;
    times.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace
}  // namespace vramwise

int main() {
  using namespace vramwise;
  double worst_one = 0, worst_eight = 0;
  fmt::print("{:<8} {:<16} {:>6} {:>7} {:>8} {:>8}\n", "model", "card", "cards", "vocab", "ms", "replays");
  for (const std::size_t count : {1, 2, 8}) {
    for (const char* size : {"tiny", "small", "medium", "large"}) {
      for (const char* card : {"rtx-2060", "rtx-3060-12gb", "rtx-3090", "a100-80gb-sxm"}) {
        for (const std::int64_t vocab : {256, 50304}) {
          int replays = 0;
          const double ms = median_ms(request_for(size, card, count, vocab), replays);
          fmt::print("{:<8} {:<16} {:>6} {:>7} {:>8.1f} {:>8}\n", size, card, count, vocab, ms, replays);
          if (count == 1) worst_one = std::max(worst_one, ms);
          if (count == 8) worst_eight = std::max(worst_eight, ms);
        }
      }
    }
  }
  fmt::print("worst on one card: {:.1f} ms (goal: 50); on eight, data parallel: {:.1f} ms (goal: 500)\n", worst_one,
             worst_eight);
  return worst_one <= 50 && worst_eight <= 500 ? 0 : 1;
}

// search_bench: how long `--strategy fastest` and plans for other trainers take, case by case, in milliseconds.
//
// The process is one that has planned before: the catalogue is parsed. Each row is the median of several searches. For
// other trainers it also tells how long the fastest plan alone takes, without its runner-ups and reasons.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "base/heap.h"
#include "models/catalogue/model_catalogue.h"
#include "models/shorter.h"
#include "plan/catalogue_card.h"
#include "plan/plan.h"
#include "plan/training/card.h"
#include "plan/training/search.h"

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

template <typename Search>
double median_ms(const Search& search) {
  std::vector<double> times;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    search();
    const auto end = std::chrono::steady_clock::now();
    times.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

struct Worst {
  double one = 0;    ///< card
  double eight = 0;  ///< cards

  void take(int cards, double ms) {
    if (cards == 1) one = std::max(one, ms);
    if (cards == 8) eight = std::max(eight, ms);
  }
};

void own_searches(Worst& worst) {
  fmt::print("{:<8} {:<16} {:>6} {:>7} {:>8} {:>8}\n", "model", "card", "cards", "vocab", "ms", "replays");
  for (const int count : {1, 2, 8}) {
    for (const char* size : {"tiny", "small", "medium", "large"}) {
      for (const char* card : {"rtx-2060", "rtx-3060-12gb", "rtx-3090", "a100-80gb-sxm"}) {
        for (const std::int64_t vocab : {256, 50304}) {
          int replays = 0;
          const PlanRequest request = request_for(size, card, static_cast<std::size_t>(count), vocab);
          const double ms = median_ms([&] {
            const Result<Plan> plan = make_plan(request);
            replays = plan.ok() ? plan->replays : -1;
          });
          fmt::print("{:<8} {:<16} {:>6} {:>7} {:>8.1f} {:>8}\n", size, card, count, vocab, ms, replays);
          worst.take(count, ms);
        }
      }
    }
  }
}

struct OtherCase {
  Trainer trainer;
  const char* model;
  const char* card;
  int cards;
  std::int64_t seq_len;
};

constexpr OtherCase kOthers[] = {
    {Trainer::kTransformers, "Qwen/Qwen2.5-0.5B", "rtx-4090", 1, 2048},
    {Trainer::kTransformers, "meta-llama/Llama-3.2-1B", "rtx-3090", 1, 2048},
    {Trainer::kAccelerate, "meta-llama/Llama-3.2-1B", "rtx-3060-12gb", 1, 1024},
    {Trainer::kAccelerate, "meta-llama/Llama-3.2-3B", "a100-80gb-sxm", 1, 4096},
    {Trainer::kFsdp2, "meta-llama/Llama-3.1-8B", "h100-80gb-sxm", 8, 4096},
    {Trainer::kFsdp2, "Qwen/Qwen2.5-7B", "a100-40gb-sxm", 8, 4096},
    {Trainer::kAccelerate, "meta-llama/Llama-3.1-8B", "h200-141gb-sxm", 8, 4096},
    {Trainer::kDeepSpeed, "meta-llama/Llama-3.1-8B", "h100-80gb-sxm", 8, 4096},
    {Trainer::kDeepSpeed, "Qwen/Qwen2.5-7B", "a100-40gb-sxm", 8, 4096},
};

bool other_searches(Worst& worst) {
  fmt::print("\n{:<13} {:<24} {:<16} {:>6} {:>8} {:>8} {:>10} {:>8}\n", "trainer", "model", "card", "cards", "ms",
             "plan ms", "candidates", "replays");
  for (const OtherCase& each : kOthers) {
    TrainingRequest request;
    request.model = parse_model_config(find_model(each.model)->config, each.model).value();
    request.shorter = shorter_models(find_model(each.model)->config, request.model);
    request.model_name = each.model;
    request.trainer = each.trainer;
    request.cards = each.cards;
    request.sequences = std::int64_t{16} * each.cards;
    request.start.settings.seq_len = each.seq_len;
    request.start.settings.optimizer = TrainingOptimizer::kAdamWFused;
    if (each.trainer == Trainer::kDeepSpeed) request.start.settings.parallel.kind = Parallel::kDeepSpeed;
    if (!put_on(request, *find_gpu(each.card), std::nullopt, Bytes::mib(1024)).ok()) return false;
    std::size_t candidates = 0;
    int replays = -1;
    const double ms = median_ms([&] {
      const Result<TrainingPlan> plan = plan_training(request);
      if (!plan.ok()) return;
      candidates = plan->candidates;
      replays = plan->estimates;
    });
    if (replays < 0) return false;
    request.only_best = true;
    const double plan_ms = median_ms([&] { plan_training(request).value(); });
    fmt::print("{:<13} {:<24} {:<16} {:>6} {:>8.1f} {:>8.1f} {:>10} {:>8}\n", trainer_name(each.trainer), each.model,
               each.card, each.cards, ms, plan_ms, candidates, replays);
    worst.take(each.cards, ms);
  }
  return true;
}

}  // namespace
}  // namespace vramwise

int main() {
  using namespace vramwise;
  keep_freed_memory();
  Worst worst;
  own_searches(worst);
  const bool all_fit = other_searches(worst);
  fmt::print("worst on one card: {:.1f} ms (goal: 50); on eight: {:.1f} ms (goal: 500)\n", worst.one, worst.eight);
  return all_fit && worst.one <= 50 && worst.eight <= 500 ? 0 : 1;
}

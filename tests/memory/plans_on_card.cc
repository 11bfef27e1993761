// plans_on_card --seed N --first I --count N --context_bytes N --workspaces_bytes N --sm_count_0 N --sm_count_1 N
//
// Drawn plans carried out by the trainer's engine on the CUDA cards that are there, one after the other in one process:
// a line of JSON each; every fourth is for two cards. What a plan's card is smaller than the real one is taken away
// first, so that PyTorch's allocator meets the plan's own limit. tests/dryrun/test_plans.py runs it on emulated cards;
// on real ones it works as well.
#include <c10/core/CachingDeviceAllocator.h>

#include <iostream>
#include <map>
#include <random>
#include <string>

#include "base/json.h"
#include "base/units.h"
#include "drawn_plans.h"
#include "gpus/catalogue.h"
#include "train/engine.h"

// Declared in ATen/cuda/CUDAContextLight.h, which needs CUDA's headers.
namespace at::cuda {
void clearCublasWorkspaces();  // NOLINT(readability-identifier-naming): PyTorch's
}

namespace vramwise::testing {
namespace {

using Arguments = std::map<std::string, std::int64_t>;

c10::DeviceAllocator& allocator() {
  auto* const found = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::kCUDA));
  VRAMWISE_CHECK(found != nullptr);
  return *found;
}

RunSpec spec_of(const Plan& plan) {
  RunSpec spec;
  spec.model = plan.request.model;
  spec.step = plan.step;
  for (const CardPlan& card : plan.cards)
    spec.replicas.push_back({.device = card.card.device,
                             .micro_batch = card.micro_batch,
                             .sequences = card.sequences,
                             .knobs = card.knobs});
  std::swap(spec.replicas.front(), spec.replicas[plan.optimizer_card()]);
  spec.step.micro_batch = spec.replicas.front().micro_batch;
  spec.effective_batch = plan.effective_batch_size();
  spec.out_dir = std::string(".");
  return spec;
}

TokenSource tokens_for(const RunSpec& spec) {
  std::mt19937 random(1);
  std::vector<std::uint32_t> ids(static_cast<std::size_t>(spec.step.seq_len * 2 + 1));
  for (std::uint32_t& id : ids) id = random() % static_cast<std::uint32_t>(spec.model.vocab_size);
  return TokenSource::from_ids(std::move(ids));
}

constexpr std::int64_t kSteps = 4;

/// Steps with an evaluation after the second. Returns how often memory ran out, or nothing where a step could not be
/// made.
std::optional<int> run_steps(const RunSpec& spec) {
  int events = 0;
  const TokenSource tokens = tokens_for(spec);
  auto engine = Engine::create(spec, {}, [&](const OutOfMemoryEvent&) { ++events; });
  if (!engine.ok()) return std::nullopt;
  (*engine)->initialize_weights(1);
  const std::vector<std::int64_t> starts(static_cast<std::size_t>(spec.effective_batch_size()), 0);
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    if (!(*engine)->step({step, 1e-3, {&tokens, starts}}).ok()) return std::nullopt;
    if (step == 2 && !(*engine)->evaluate(step, {&tokens, starts}).ok()) return std::nullopt;
  }
  return events;
}

Json carry_out(const Plan& plan, Bytes context) {
  std::vector<torch::Tensor> taken;
  std::vector<std::int64_t> taken_bytes;
  for (std::size_t i = 0; i < plan.cards.size(); ++i) {
    const auto index = static_cast<c10::DeviceIndex>(i);
    const auto free = static_cast<std::int64_t>(allocator().getMemoryInfo(index).first);
    const std::int64_t allowed = (plan.cards[i].card.budget - context).count();
    const std::int64_t granule = 2 << 20;
    taken_bytes.push_back((free - allowed) / granule * granule);
    taken.push_back(
        torch::empty({taken_bytes.back()}, torch::device(torch::Device(torch::kCUDA, index)).dtype(torch::kByte)));
    allocator().resetPeakStats(index);
  }
  const std::optional<int> events = run_steps(spec_of(plan));
  Json cards = Json::array();
  for (std::size_t i = 0; i < plan.cards.size(); ++i) {
    const auto stats = allocator().getDeviceStats(static_cast<c10::DeviceIndex>(i));
    const CardPlan& card = plan.cards[i];
    cards.push_back({{"memory_bytes", card.card.budget.count()},
                     {"usable_bytes", card.usable.count()},
                     {"micro_batch", card.micro_batch},
                     {"sequences", card.sequences},
                     {"checkpointed_blocks", card.knobs.checkpointed_blocks},
                     {"loss_chunk_tokens", card.knobs.loss_chunk_tokens},
                     {"predicted_reserved_bytes", (card.ledger.device - context).count()},
                     {"measured_reserved_bytes", stats.reserved_bytes[0].peak - taken_bytes[i]},
                     {"retries", stats.num_alloc_retries}});
  }
  return {{"ran", events.has_value()}, {"out_of_memory_events", events.value_or(0)}, {"cards", cards}};
}

Json case_json(const Arguments& arguments, std::int64_t index) {
  const Bytes context(arguments.at("context_bytes"));
  at::cuda::clearCublasWorkspaces();
  allocator().emptyCache();
  const Card card{
      .name = "rtx-3090",
      .target = {.backend = Backend::kCuda, .context = context, .workspaces = Bytes(arguments.at("workspaces_bytes"))},
      .rates = device_rates(*find_gpu("rtx-3090"))};
  const auto free = static_cast<std::int64_t>(allocator().getMemoryInfo(0).first);
  DrawnCase drawn = draw_case(static_cast<std::uint64_t>(arguments.at("seed")), static_cast<std::uint64_t>(index),
                              index % 4 == 3 ? 2 : 1, card, Bytes(free) - Bytes::mib(8));
  for (std::size_t i = 0; i < drawn.request.cards.size(); ++i)
    drawn.request.cards[i].target.sm_count = static_cast<int>(arguments.at("sm_count_" + std::to_string(i)));
  Json json = {{"index", index},
               {"parameters", parameter_count(drawn.request.model)},
               {"strategy", strategy_name(drawn.request.strategy)},
               {"margin_bytes", drawn.request.safety_margin.count()}};
  const Result<Plan> plan = make_plan(drawn.request);
  json["planned"] = plan.ok();
  if (!plan.ok()) return json;
  json["step"] = to_json(plan->step);
  json["replays"] = plan->replays;
  json["next_larger_is_worse"] = plan->request.strategy != Strategy::kFastest || next_larger_is_worse(*plan);
  json.update(carry_out(*plan, context));
  return json;
}

}  // namespace
}  // namespace vramwise::testing

int main(int argc, char** argv) {
  vramwise::testing::Arguments arguments;
  for (int i = 1; i + 1 < argc; i += 2) arguments[std::string(argv[i]).substr(2)] = std::stoll(argv[i + 1]);
  for (const char* name : {"seed", "first", "count", "context_bytes", "workspaces_bytes", "sm_count_0", "sm_count_1"}) {
    if (arguments.contains(name)) continue;
    std::cerr << "plans_on_card: --" << name << " is missing\n";
    return 2;
  }
  for (std::int64_t i = 0; i < arguments["count"]; ++i)
    std::cout << vramwise::testing::case_json(arguments, arguments["first"] + i).dump() << std::endl;
  return 0;
}

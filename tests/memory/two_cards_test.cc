// Two unequal cards, drawn: whether their memory is filled where it is what limits, and if not, why not.
//
// Memory of a card limits a plan where the step would be faster had that card alone no end of it. Every split of the
// sequences with every micro-batch, number of recomputed blocks, loss chunk and place of the optimizer is tried: a
// search that is too coarse shows as a plan slower than the fastest of them that fits. VRAMWISE_TEST_SEED and
// VRAMWISE_TEST_COUNT repeat a series.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <map>
#include <random>

#include "cost/decoder_step.h"
#include "drawn_plans.h"
#include "gpus/catalogue.h"
#include "plan/candidate.h"
#include "plan/search/memory.h"
#include "plan/search/space.h"

namespace vramwise::testing {
namespace {

constexpr double kFull = 0.9;
constexpr double kNever = 1e300;
constexpr double kRounding = 1e-9;

struct Option {
  double seconds = kNever;
  CardKnobs knobs = {};
  ReplicaWork work = {};
};

std::int64_t from_environment(const char* name, std::int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::stoll(text);
}

/// Everything that cards may do with a share, for one precision and place of the optimizer.
class Options {
 public:
  Options(const Plan& plan, const SearchSpace& space, SearchMemory& memory, const StepSettings& shared)
      : plan_(plan), space_(space), memory_(memory), shared_(shared) {
    std::vector<DeviceRates> others;
    DeviceRates holder;
    for (const CardPlan& card : plan.cards) (card.holds_optimizer ? holder : others.emplace_back()) = card.card.rates;
    update_ = update_seconds(plan.request.model, shared, holder, others);
  }

  /// The fastest first.
  std::vector<Option> all(std::size_t card, std::int64_t share) const {
    const Card& on = plan_.cards[card].card;
    std::vector<Option> options;
    for (const std::int64_t chunk : space_.chunks) {
      for (const std::int64_t blocks : space_.blocks) {
        const CardKnobs knobs{.checkpointed_blocks = blocks, .loss_chunk_tokens = chunk};
        const DecoderPass pass(plan_.request.model, with_knobs(shared_, knobs), on.backend, on.rates);
        for (const std::int64_t passes : pass_counts(share)) {
          const ReplicaWork work{.sequences = share, .passes = passes};
          options.push_back({.seconds = seconds_of(pass, work), .knobs = knobs, .work = work});
        }
      }
    }
    std::stable_sort(options.begin(), options.end(),
                     [](const Option& a, const Option& b) { return a.seconds < b.seconds; });
    return options;
  }

  Option fastest(std::size_t card, std::int64_t share, bool must_fit) const {
    for (const Option& option : all(card, share)) {
      if (!must_fit || memory_.fits(with_knobs(shared_, option.knobs), card, option.work)) return option;
    }
    return {};
  }

  /// Seconds of the fastest split; each card within its memory, but for those that have no end of it.
  double step_seconds(std::array<bool, 2> endless) const {
    double best = kNever;
    for (std::int64_t first = 0; first <= space_.sequences; ++first) {
      const double a = fastest_of(0, first, !endless[0]);
      const double b = fastest_of(1, space_.sequences - first, !endless[1]);
      best = std::min(best, std::max(a, b) + update_);
    }
    return best;
  }

 private:
  double fastest_of(std::size_t card, std::int64_t share, bool must_fit) const {
    const auto [known, is_new] = known_.try_emplace({static_cast<std::int64_t>(card), share, must_fit ? 1 : 0});
    if (is_new) known->second = fastest(card, share, must_fit).seconds;
    return known->second;
  }

  const Plan& plan_;
  const SearchSpace& space_;
  SearchMemory& memory_;
  StepSettings shared_;
  double update_ = 0;
  mutable std::map<std::array<std::int64_t, 3>, double> known_;
};

/// What a card that is not full would do next for its share, were there memory for it: of everything faster, that which
/// takes least more.
std::string next_step(const Plan& plan, SearchMemory& memory, const Options& options, std::size_t index) {
  const CardPlan& card = plan.cards[index];
  const ReplicaWork now{.sequences = card.sequences,
                        .passes = (card.sequences + card.micro_batch - 1) / card.micro_batch};
  if (now.sequences == 0) {
    return options.fastest(index, 1, true).seconds == kNever ? "not even one sequence fits beside the model"
                                                             : "a sequence there would take longer than it saves";
  }
  const DecoderPass pass(plan.request.model, with_knobs(plan.step, card.knobs), card.card.backend, card.card.rates);
  const double seconds = seconds_of(pass, now);
  const Option* next = nullptr;
  Bytes least;
  const std::vector<Option> all = options.all(index, card.sequences);
  for (const Option& option : all) {
    if (option.seconds >= seconds * (1 - kRounding)) break;
    const Bytes bytes = memory.at_least(with_knobs(plan.step, option.knobs), index, option.work);
    if (next != nullptr && bytes >= least) continue;
    least = bytes;
    next = &option;
  }
  if (next == nullptr) return "one sequence more does not fit, or only so that it takes longer";
  if (next->work.passes < now.passes) return "its next larger micro-batch does not fit";
  if (next->knobs.checkpointed_blocks < card.knobs.checkpointed_blocks) return "one recomputed block less does not fit";
  return "a larger chunk of the loss does not fit";
}

TEST(TwoCards, AreFilledWhereMemoryLimitsOrNothingFasterFits) {
  const std::int64_t seed = from_environment("VRAMWISE_TEST_SEED", std::random_device()());
  const std::int64_t count = from_environment("VRAMWISE_TEST_COUNT", 12);
  RecordProperty("seed", std::to_string(seed));
  const Card like{.name = "rtx-3090",
                  .target = {.backend = Backend::kCuda, .context = Bytes::mib(256), .workspaces = Bytes::mib(16)},
                  .rates = device_rates(*find_gpu("rtx-3090"))};
  int planned = 0, limited = 0, both_full = 0, limited_cards = 0, full_cards = 0;
  std::map<std::string, int> causes;
  for (std::int64_t i = 0; i < count; ++i) {
    DrawnCase drawn =
        draw_case(static_cast<std::uint64_t>(seed), static_cast<std::uint64_t>(i), 2, like, Bytes::gib(23));
    drawn.request.strategy = Strategy::kFastest;
    const Result<Plan> plan = make_plan(drawn.request);
    if (!plan.ok()) continue;
    ++planned;
    SearchMemory memory(plan->request.model, plan->cards);
    const SearchSpace space = make_space(drawn.request, plan->cards, {.step = plan->step, .micro_batches = {1, 1}});
    double best = kNever, endless_0 = kNever, endless_1 = kNever;
    std::optional<Options> own;
    for (const StepSettings& shared : space.shared) {
      const Options options(*plan, space, memory, shared);
      best = std::min(best, options.step_seconds({false, false}));
      endless_0 = std::min(endless_0, options.step_seconds({true, false}));
      endless_1 = std::min(endless_1, options.step_seconds({false, true}));
      if (shared.offload_optimizer == plan->step.offload_optimizer) own.emplace(options);
    }
    ASSERT_NEAR(plan->step_seconds, best, best * kRounding) << "seed " << seed << ", case " << i;
    ASSERT_TRUE(own.has_value());
    const std::array<bool, 2> limits = {endless_0 < best * (1 - kRounding), endless_1 < best * (1 - kRounding)};
    if (!limits[0] && !limits[1]) continue;
    ++limited;
    bool all_full = true;
    for (std::size_t c = 0; c < 2; ++c) {
      const CardPlan& card = plan->cards[c];
      if (!limits[c]) continue;
      ++limited_cards;
      if (card.ledger.device.in_mib() >= kFull * card.usable.in_mib()) {
        ++full_cards;
        continue;
      }
      all_full = false;
      ++causes[next_step(*plan, memory, *own, c)];
    }
    both_full += all_full ? 1 : 0;
  }
  fmt::print("seed {}: {} drawn, {} planned; memory limits {}, and every card that it limits is full in {}\n", seed,
             count, planned, limited, both_full);
  fmt::print("{} of {} limited cards are full to 90 % of their budgets or more; of the others:\n", full_cards,
             limited_cards);
  for (const auto& [cause, times] : causes) fmt::print("  {:3} {}\n", times, cause);
  EXPECT_GT(planned, count / 2) << "seed " << seed;
}

}  // namespace
}  // namespace vramwise::testing

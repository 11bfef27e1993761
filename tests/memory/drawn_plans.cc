// See drawn_plans.h. Every value hangs on seed and index alone, so a series can go on where it stopped.
#include "drawn_plans.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "cost/decoder_step.h"
#include "plan/candidate.h"
#include "plan/search/space.h"

namespace vramwise::testing {
namespace {

class Draw {
 public:
  Draw(std::uint64_t seed, std::uint64_t index) {
    std::seed_seq all{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                      static_cast<std::uint32_t>(index)};
    engine_.seed(all);
  }
  std::int64_t pick(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(high - low + 1));
  }
  /// As likely between 1 and 2 as between 8 and 16.
  double stretched(double low, double high) {
    const double part = static_cast<double>(engine_() >> 11) * 0x1.0p-53;
    return low * std::pow(high / low, part);
  }

 private:
  std::mt19937_64 engine_;
};

DecoderConfig draw_model(Draw& draw) {
  DecoderConfig config;
  config.head_dim = 32 << draw.pick(0, 2);
  config.n_kv_heads = draw.pick(1, 4);
  config.n_heads = config.n_kv_heads * draw.pick(1, 3);
  config.hidden_size = 64 * draw.pick(2, 24);
  config.intermediate_size = 64 * draw.pick(2, 60);
  config.n_layers = draw.pick(1, 10);
  config.vocab_size = draw.pick(0, 2) == 0 ? 256 : draw.pick(1000, 50304);
  config.tie_embeddings = draw.pick(0, 3) > 0;
  return config;
}

}  // namespace

DrawnCase draw_case(std::uint64_t seed, std::uint64_t index, std::size_t cards, const Card& card, Bytes most) {
  Draw draw(seed, index);
  DrawnCase drawn;
  PlanRequest& request = drawn.request;
  request.model = draw_model(draw);
  request.model_name = "drawn";
  request.origin = CardOrigin::kChosen;
  request.strategy = draw.pick(0, 4) == 0 ? Strategy::kSafest : Strategy::kFastest;
  request.overrides.seq_len = 32 * draw.pick(1, 48);
  request.overrides.effective_batch = draw.pick(1, 40);
  if (draw.pick(0, 5) == 0) request.overrides.precision = Precision::kFp32;
  // Cards from just above what the model itself takes, so that most plans are short of memory.
  const double states = 18.0 * static_cast<double>(parameter_count(request.model));
  const double least = states / 3 + static_cast<double>(card.target.context.count()) + 400e6;
  for (std::size_t i = 0; i < cards; ++i) {
    const double size = std::min(static_cast<double>(most.count()), draw.stretched(least, least * 6));
    Card one = card;
    one.device = "cuda:" + std::to_string(i);
    one.budget = one.shown_total = Bytes(static_cast<std::int64_t>(size) / (2 << 20) * (2 << 20));
    const double speed = i == 0 ? 1 : draw.stretched(0.3, 1);
    for (double DeviceRates::* rate :
         {&DeviceRates::matmul_16bit_flop_s, &DeviceRates::matmul_fp32_flop_s, &DeviceRates::attention_16bit_flop_s,
          &DeviceRates::attention_fp32_flop_s, &DeviceRates::bandwidth_byte_s})
      one.rates.*rate *= speed;
    drawn.largest_card = std::max(drawn.largest_card, one.budget);
    request.cards.push_back(one);
  }
  request.safety_margin = drawn.largest_card / 100 + Bytes::mib(64) + Bytes::mib(draw.pick(0, 3) == 0 ? 512 : 0);
  return drawn;
}

bool next_larger_is_worse(const Plan& plan) {
  for (std::size_t i = 0; i < plan.cards.size(); ++i) {
    const CardPlan& card = plan.cards[i];
    const ReplicaWork now{.sequences = card.sequences,
                          .passes = (card.sequences + card.micro_batch - 1) / card.micro_batch};
    if (now.passes <= 1) continue;
    ReplicaWork larger = now;
    for (const std::int64_t passes : pass_counts(card.sequences)) {
      if (passes < now.passes) larger.passes = passes;
    }
    Candidate candidate{.step = plan.step, .micro_batches = {}};
    for (const CardPlan& each : plan.cards) {
      candidate.micro_batches.push_back(each.micro_batch);
      candidate.sequences.push_back(each.sequences);
      candidate.knobs.push_back(each.knobs);
    }
    candidate.micro_batches[i] = micro_batch_of(larger);
    if (ledger_of(plan.request.model, candidate, card, i).device > card.usable) continue;
    const DecoderPass pass(plan.request.model, with_knobs(plan.step, card.knobs), card.card.backend, card.card.rates);
    if (seconds_of(pass, larger) < seconds_of(pass, now)) return false;
  }
  return true;
}

}  // namespace vramwise::testing

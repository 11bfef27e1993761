// Knobs in the order in which ties are broken: what stands first in the list is kept where another is no faster.
#include "plan/search/space.h"

#include <algorithm>
#include <numeric>

namespace vramwise {
namespace {

// More values of one knob than this are thinned out: a model of 2,000 blocks is planned in steps of 32.
constexpr std::int64_t kMostBlockCounts = 64;

std::vector<std::int64_t> block_counts(const PlanRequest& request, const StepSettings& start) {
  if (request.overrides.checkpointed_blocks) return {start.checkpointed_blocks};
  const std::int64_t layers = request.model.n_layers;
  const std::int64_t stride = (layers + kMostBlockCounts - 1) / kMostBlockCounts;
  std::vector<std::int64_t> counts;
  for (std::int64_t blocks = 0; blocks < layers; blocks += stride) counts.push_back(blocks);
  counts.push_back(layers);
  return counts;
}

/// One card's search takes powers of two; several cards, each of which has its own, what lies between them, too.
std::vector<std::int64_t> loss_chunks(const PlanRequest& request, const StepSettings& start, std::int64_t sequences,
                                      bool finer) {
  if (request.overrides.loss_chunk_tokens) return {start.loss_chunk_tokens};
  const double tokens = static_cast<double>(sequences) * static_cast<double>(start.seq_len);
  std::vector<std::int64_t> chunks = {start.loss_chunk_tokens};
  for (std::int64_t chunk = 256; chunk <= 16384; chunk *= 2) {
    if (chunk != start.loss_chunk_tokens && static_cast<double>(chunk) < 2 * tokens) chunks.push_back(chunk);
    if (finer && static_cast<double>(chunk) < tokens) chunks.push_back(chunk + chunk / 2);
  }
  return chunks;
}

std::vector<bool> offload_choices(const PlanRequest& request, const std::vector<CardPlan>& cards,
                                  const Candidate& start) {
  if (request.overrides.offload_optimizer) return {start.step.offload_optimizer};
  Candidate offloaded = start;
  offloaded.step.offload_optimizer = true;
  const bool has_room =
      !request.offload_tier || offloaded_bytes(request.model, offloaded, cards) <= request.offload_tier->room;
  return has_room ? std::vector<bool>{false, true} : std::vector<bool>{false};
}

std::vector<Precision> precisions(const PlanRequest& request, const std::vector<CardPlan>& cards,
                                  const StepSettings& start) {
  std::vector<Precision> all = {start.precision};
  if (!request.allowed.precision || request.overrides.precision) return all;
  const bool bf16 = std::all_of(cards.begin(), cards.end(), [](const CardPlan& card) { return card.card.has_bf16; });
  for (const Precision other : {bf16 ? Precision::kBf16 : Precision::kFp16, Precision::kFp32}) {
    if (other != start.precision) all.push_back(other);
  }
  return all;
}

}  // namespace

std::vector<std::int64_t> pass_counts(std::int64_t sequences) {
  std::vector<std::int64_t> counts;
  for (std::int64_t micro_batch = sequences; micro_batch >= 1;) {
    const std::int64_t passes = (sequences + micro_batch - 1) / micro_batch;
    counts.push_back(passes);
    if (micro_batch == 1) break;
    // The largest micro-batch that needs more passes than this one.
    micro_batch = (sequences - 1) / passes;
  }
  if (counts.empty()) counts.push_back(1);
  return counts;
}

SearchSpace make_space(const PlanRequest& request, const std::vector<CardPlan>& cards, const Candidate& start) {
  SearchSpace space;
  const Overrides& fixed = request.overrides;
  const std::int64_t together =
      std::accumulate(start.micro_batches.begin(), start.micro_batches.end(), std::int64_t{0});
  space.sequences = fixed.effective_batch.value_or(together * start.step.gradient_accumulation_steps);
  if (fixed.micro_batch || !request.micro_batches.empty()) {
    const std::vector<std::int64_t> shares =
        request.sequences.empty() ? share_sequences(space.sequences, start.micro_batches) : request.sequences;
    space.fixed_work.emplace();
    for (std::size_t i = 0; i < shares.size(); ++i) {
      const std::int64_t micro_batch = start.micro_batches[i];
      space.fixed_work->push_back(
          {.sequences = shares[i], .passes = std::max<std::int64_t>(1, (shares[i] + micro_batch - 1) / micro_batch)});
    }
  } else {
    space.fixed_passes = fixed.gradient_accumulation_steps;
  }
  space.blocks = block_counts(request, start.step);
  const std::vector<std::int64_t> common_chunks = loss_chunks(request, start.step, space.sequences, false);
  space.chunks = loss_chunks(request, start.step, space.sequences, cards.size() > 1);
  for (const Precision precision : precisions(request, cards, start.step)) {
    for (const bool offload : offload_choices(request, cards, start)) {
      StepSettings step = start.step;
      step.precision = precision;
      step.offload_optimizer = offload;
      space.shared.push_back(step);
      for (const std::int64_t blocks : space.blocks) {
        for (const std::int64_t chunk : common_chunks)
          space.configurations.push_back(with_knobs(step, {.checkpointed_blocks = blocks, .loss_chunk_tokens = chunk}));
      }
    }
  }
  return space;
}

}  // namespace vramwise

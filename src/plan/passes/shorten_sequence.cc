// A shorter sequence: the last resort, because it changes what the model learns from. The plan says so loudly
// (planner.cc).
#include <fmt/format.h>

#include "plan/passes/passes.h"

namespace vramwise {
namespace {

constexpr std::int64_t kShortestSequence = 32;

}  // namespace

void shorten_sequence(Candidate& candidate, PassContext& context) {
  if (context.request.overrides.seq_len || context.fits(candidate)) return;
  const Candidate before = candidate;
  while (candidate.step.seq_len / 2 >= kShortestSequence && !context.fits(candidate)) candidate.step.seq_len /= 2;
  if (candidate.step.seq_len == before.step.seq_len) return;
  context.decisions.push_back(
      {"seq_len", fmt::format("{} -> {}", before.step.seq_len, candidate.step.seq_len), context.shortage_text(before)});
}

}  // namespace vramwise

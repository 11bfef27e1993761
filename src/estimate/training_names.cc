// Settings by the names that flags and reports have for them.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "estimate/training.h"

namespace vramwise {
namespace {

template <typename T, std::size_t N>
using Names = std::array<std::pair<T, const char*>, N>;

constexpr Names<TrainingPrecision, 5> kPrecisions = {{{TrainingPrecision::kFp32, "fp32"},
                                                      {TrainingPrecision::kBf16, "bf16"},
                                                      {TrainingPrecision::kFp16, "fp16"},
                                                      {TrainingPrecision::kBf16Mixed, "bf16-mixed"},
                                                      {TrainingPrecision::kFp16Mixed, "fp16-mixed"}}};
constexpr Names<Attention, 3> kAttentions = {
    {{Attention::kSdpa, "sdpa"}, {Attention::kEager, "eager"}, {Attention::kFlash2, "flash_attention_2"}}};

template <typename T, std::size_t N>
const char* name_of(const Names<T, N>& names, T value) {
  for (const auto& [each, name] : names)
    if (each == value) return name;
  return "?";
}

template <typename T, std::size_t N>
Result<T> value_of(const Names<T, N>& names, const std::string& wanted, const char* what) {
  std::string known;
  for (const auto& [each, name] : names) {
    if (wanted == name) return each;
    known += known.empty() ? name : fmt::format(", {}", name);
  }
  return usage_error(fmt::format("{} {} is not known", what, wanted), fmt::format("known are {}", known));
}

}  // namespace

const char* training_precision_name(TrainingPrecision precision) { return name_of(kPrecisions, precision); }
Result<TrainingPrecision> parse_training_precision(const std::string& name) {
  return value_of(kPrecisions, name, "the precision");
}
Result<Attention> parse_attention(const std::string& name) { return value_of(kAttentions, name, "the attention"); }
const char* training_phase_name(TrainingPhase phase) {
  constexpr const char* kNames[kTrainingPhases] = {"load", "forward", "loss", "backward", "optimizer step"};
  return kNames[static_cast<int>(phase)];
}

}  // namespace vramwise

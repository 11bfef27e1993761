// The knobs of a training run: what each one changes, and which values a search may try. One row each, as data; which
// trainer can carry out which value, and how that is said there, stands in words.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "allocator/options.h"
#include "base/result.h"
#include "estimate/training.h"

namespace vramwise {

/// Who trains. kOwn: vramwise train, whose search is in plan/search.
enum class Trainer : std::uint8_t { kOwn, kTransformers, kAccelerate, kFsdp2, kDeepSpeed, kTorchtune };
inline constexpr int kTrainers = 6;
const char* trainer_name(Trainer trainer);  ///< as --for takes it: "trainer", "transformers", …
Result<Trainer> parse_trainer(const std::string& name);
std::vector<std::string> trainer_names();

/// What stands in a slot of a trainer's documents (documents.h).
struct NamedText {
  std::string slot;
  std::string text;
};

/// A training run as a search varies it.
struct TrainingConfiguration {
  TrainingSettings settings;
  AllocatorOptions allocator;
};

/// What becomes of the training's mathematics.
enum class Mathematics : std::uint8_t {
  kSame,        ///< the same operations in another order or place
  kRounding,    ///< the same formulas, rounded elsewhere
  kArithmetic,  ///< numbers of another precision
  kObjective,   ///< something else is learnt
};
const char* mathematics_text(Mathematics mathematics);
inline bool changes_objective(Mathematics mathematics) { return mathematics == Mathematics::kObjective; }

/// The parts of a step whose kernels and tensors a knob changes.
enum class StepPart : std::uint8_t { kNone, kPasses, kUpdate, kBoth };

struct KnobValue {
  const char* name = "";
  void (*set)(TrainingConfiguration&) = nullptr;
  bool (*holds)(const TrainingConfiguration&) = nullptr;
  Mathematics mathematics = Mathematics::kSame;
  const char* allow = nullptr;  ///< what --allow must name before a search takes it; null: nothing
};

struct Knob {
  const char* name;
  const char* changes;  ///< memory and speed, in words
  StepPart part = StepPart::kBoth;
  Mathematics mathematics = Mathematics::kSame;  ///< of the value that changes most
  const char* allow = nullptr;
  bool is_for_several_cards = false;
  /// The first is the plain one. Empty: a number that the search finds for itself, or a knob of vramwise train alone.
  std::span<const KnobValue> values = {};
};

/// In the order in which ties are broken: an earlier knob is left at its plain value rather than a later one.
std::span<const Knob> training_knobs();
const Knob* find_knob(const std::string& name);

/// The value that the configuration has; null where none of them holds.
const KnobValue* value_of(const Knob& knob, const TrainingConfiguration& configuration);

/// Everything that --allow can name for this trainer.
std::vector<std::string> allow_names(Trainer trainer);

/// PEFT's own default (LoraConfig of peft 0.21).
inline constexpr std::int64_t kDefaultLoraRank = 8;

}  // namespace vramwise

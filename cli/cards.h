// Which cards a plan is for: those of the machine, of the catalogue (--gpu), one assumed from --vram, or the host
// itself.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "device/machine.h"
#include "plan/plan.h"

namespace vramwise::cli {

struct CardSet {
  std::vector<Card> cards;
  CardOrigin origin = CardOrigin::kDetected;
  std::vector<std::string> notes;  ///< what the user should be told about this choice
};

/// The cards named with --gpu. Errors: what the catalogue does not know.
Result<CardSet> chosen_cards(const std::string& gpu_spec);

/// A card that nobody named, with this much memory.
CardSet assumed_card(Bytes total);

/// The host as the device. Errors: its memory is not known.
Result<CardSet> host_card(const Machine& machine);

/// What a plan on this machine is for: every card that can be seen (AMD and Intel with a note that they are not
/// verified); else the host.
Result<CardSet> detected_cards(const Machine& machine);

/// What a training run on this machine would use: the NVIDIA cards that CUDA shows; the host where there are none.
/// Errors (kWorld): cards that training is not possible on (AMD, Intel, a driver or a card too old for the CUDA build
/// of torch); --device cpu is the way out.
Result<CardSet> trainable_cards(const Machine& machine);

}  // namespace vramwise::cli

// Which cards a plan is for: those of the machine, of the catalogue (--gpu), one assumed from --vram, or the host
// itself.
#pragma once

#include <optional>
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
/// Cards that training is not possible on (too old for the CUDA build of torch) are left out with a note. They are
/// numbered in the order of visible_devices_of() where all have a UUID. Errors (kWorld): training is possible on none
/// of the cards that are there (AMD, Intel, too old a card or driver); --device cpu is the way out.
Result<CardSet> trainable_cards(const Machine& machine);

/// A target above what the cards have becomes what they have. Returns what was asked for then, for the user to be told.
std::optional<Bytes> keep_to_cards(VramTarget& target, const CardSet& set);

/// Takes out the cards that have no more than the safety margin left, with a note; all of them stay where all are so.
void leave_out_full_cards(CardSet& set, Bytes margin);

/// CUDA_VISIBLE_DEVICES for a process that is to see just these, as cuda:0, cuda:1 …: their UUIDs. Empty where one is
/// not known.
std::string visible_devices_of(const std::vector<Card>& cards);

}  // namespace vramwise::cli

// Tensors that the hook met are known by their address at that time. The others are told by when they came and went:
// what a forward pass took and a backward pass released was an activation; what a phase took and released itself was
// temporary.
#include "dryrun/analysis/owners.h"

#include <algorithm>
#include <unordered_map>

namespace vramwise {
namespace {

constexpr const char* kForward = "forward";
constexpr const char* kBackward = "backward";
constexpr const char* kOptimizer = "optimizer step";

class Finder {
 public:
  Finder(const DeviceHistory& history, const MemoryHistory& all, const ObservedRun& run,
         const std::vector<Bytes>& workspaces)
      : history_(history), all_(all), run_(run), workspaces_(workspaces), owned_(history.blocks.size()) {}

  void take_known(std::int64_t device) {
    std::unordered_map<std::int64_t, std::vector<std::size_t>> at_address;
    for (std::size_t i = 0; i < history_.blocks.size(); ++i) at_address[history_.blocks[i].address].push_back(i);
    for (std::size_t k = 0; k < run_.tensors.size(); ++k) {
      const KnownTensor& tensor = run_.tensors[k];
      const auto found = at_address.find(tensor.address);
      if (tensor.device != device || found == at_address.end()) continue;
      for (const std::size_t i : found->second) {
        const HistoryBlock& block = history_.blocks[i];
        const bool lives = block.begin_us <= tensor.seen_us && tensor.seen_us <= block.end_us;
        if (lives && owned_[i].tensor < 0)
          owned_[i] = {.owner = owner_called(tensor.kind), .tensor = static_cast<std::int32_t>(k)};
      }
    }
  }

  std::vector<OwnedBlock> find_others() {
    for (std::size_t i = 0; i < owned_.size(); ++i) {
      if (owned_[i].tensor < 0) owned_[i].owner = by_life(history_.blocks[i]);
    }
    return std::move(owned_);
  }

 private:
  static MemoryOwner owner_called(const std::string& kind) {
    if (kind == "gradients") return MemoryOwner::kGradients;
    return kind == "optimizer states" ? MemoryOwner::kOptimizerStates : MemoryOwner::kWeights;
  }

  MemoryOwner by_life(const HistoryBlock& block) const {
    const PhaseStretch* from = run_.stretch_at(block.begin_us);
    const PhaseStretch* to = block.end_us == HistoryBlock::kForever ? nullptr : run_.stretch_at(block.end_us);
    const SourcePlace& place = all_.places[block.place];
    if (place.communicates) return MemoryOwner::kCommunication;
    const bool is_workspace =
        std::find(workspaces_.begin(), workspaces_.end(), Bytes(block.bytes)) != workspaces_.end();
    if (to == nullptr && is_workspace) return MemoryOwner::kWorkspaces;
    if (from == nullptr) return MemoryOwner::kOther;
    if (from == to && from->name != kForward) {
      const bool recomputed = place.recomputes && from->name == kBackward;
      const bool evaluates = from->name == "evaluation" && run_.module_at(block.begin_us) < 0;
      return recomputed || evaluates ? MemoryOwner::kActivations : MemoryOwner::kTemporaries;
    }
    if (from->name == kForward) return taken_in_forward(block, *from, to);
    if (from->name == kBackward) return MemoryOwner::kGradients;
    if (from->name == kOptimizer) return follows_the_last(*from) ? MemoryOwner::kOther : MemoryOwner::kOptimizerStates;
    return from->name == "evaluation" ? MemoryOwner::kActivations : MemoryOwner::kOther;
  }

  /// What comes after the last phase has its name (phases.py), and nothing else of it.
  bool follows_the_last(const PhaseStretch& stretch) const {
    const std::size_t count = run_.stretches.size();
    return count > 1 && &stretch == &run_.stretches.back() && run_.stretches[count - 2].name == stretch.name;
  }

  MemoryOwner taken_in_forward(const HistoryBlock& block, const PhaseStretch& from, const PhaseStretch* to) const {
    const bool outside_modules = run_.module_at(block.begin_us) < 0;
    const bool before_modules = outside_modules && !module_ran_between(from.begin_us, block.begin_us);
    if (&from == to) {
      if (before_modules && module_ran_between(block.begin_us, block.end_us)) return MemoryOwner::kInputs;
      return MemoryOwner::kTemporaries;
    }
    if (to == nullptr && block.end_us == HistoryBlock::kForever) {
      // The last batch and loss live until the program's end; what the first steps leave for good does not.
      const bool last = std::none_of(run_.stretches.begin(), run_.stretches.end(), [&](const PhaseStretch& s) {
        return s.name == kForward && s.begin_us > from.begin_us;
      });
      if (!last) return MemoryOwner::kOther;
    }
    return before_modules ? MemoryOwner::kInputs : MemoryOwner::kActivations;
  }

  bool module_ran_between(std::int64_t from_us, std::int64_t to_us) const {
    const auto first = std::lower_bound(run_.calls.begin(), run_.calls.end(), from_us,
                                        [](const ModuleCall& c, std::int64_t time) { return c.time_us < time; });
    return first != run_.calls.end() && first->time_us < to_us;
  }

  const DeviceHistory& history_;
  const MemoryHistory& all_;
  const ObservedRun& run_;
  const std::vector<Bytes>& workspaces_;
  std::vector<OwnedBlock> owned_;
};

}  // namespace

std::string to_string(MemoryOwner owner) {
  switch (owner) {
    case MemoryOwner::kWeights:
      return "weights";
    case MemoryOwner::kGradients:
      return "gradients";
    case MemoryOwner::kOptimizerStates:
      return "optimizer states";
    case MemoryOwner::kActivations:
      return "activations";
    case MemoryOwner::kInputs:
      return "inputs";
    case MemoryOwner::kTemporaries:
      return "temporaries";
    case MemoryOwner::kWorkspaces:
      return "workspaces";
    case MemoryOwner::kCommunication:
      return "communication";
    case MemoryOwner::kOther:
      return "other tensors";
  }
  return "other tensors";
}

std::vector<OwnedBlock> find_owners(const DeviceHistory& history, std::int64_t device, const MemoryHistory& all,
                                    const ObservedRun& run, const std::vector<Bytes>& workspaces) {
  Finder finder(history, all, run, workspaces);
  finder.take_known(device);
  return finder.find_others();
}

}  // namespace vramwise

// The processes of a run that used CUDA, and how they shared the cards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dryrun/ledger.h"

namespace vramwise {

/// A process that used CUDA. Those that were there at the same time add up; those after one another don't.
struct SeenProcess {
  std::string id;
  std::filesystem::file_time_type begin, end;
  std::map<std::int64_t, std::int64_t> places;    ///< of each card, as it numbers them: its place among all cards
  std::map<std::int64_t, DryRunShare> cards;      ///< what it held of each; `reserved` is not known here
  std::map<std::int64_t, Bytes> together_peaks;   ///< the most that it saw all processes hold of a card
  std::map<std::int64_t, std::int64_t> refusals;  ///< requests that a card had not got, as it numbers them

  bool is_there(std::filesystem::file_time_type when) const { return begin <= when && when <= end; }
};

/// Who was on a card, and what they held of it.
struct OnCard {
  std::set<std::string> together;             ///< the processes that took most of it
  std::map<std::string, DryRunShare> shares;  ///< of those
  std::optional<Bytes> together_peak;         ///< what the processes saw themselves
};

class SeenProcesses {
 public:
  /// What the ledgers (ledger.*.json) among `names`, files of `folder`, say of each process. Errors (kWorld): broken
  /// ones.
  static Result<SeenProcesses> read(const std::string& folder, const std::vector<std::string>& names);

  /// The number in the report of the card that the process numbers so: CUDA's in the program; where its processes see
  /// different cards, the place among all of them.
  std::int64_t number(const std::string& id, std::int64_t index) const;
  /// What the emulator refused that process of a card; PyTorch's count of errors is the better one.
  std::int64_t refusals(const std::string& id, std::int64_t index) const;
  /// Null: no ledger tells of it.
  const OnCard* on(std::int64_t card) const;

 private:
  explicit SeenProcesses(std::vector<SeenProcess> processes);
  const SeenProcess* find(const std::string& id) const;

  std::vector<SeenProcess> all_;
  std::map<std::int64_t, OnCard> on_cards_;
};

/// "ledger.7.json" → "7"
std::string id_of_process(const std::string& name);

}  // namespace vramwise

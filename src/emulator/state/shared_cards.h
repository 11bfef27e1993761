// What the processes of one run hold of the machine's cards together, so that each sees what the others take. A table
// in a file that all of them map; whoever was killed holds nothing any more.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"

namespace vramwise::emulator {

class SharedCards {
 public:
  static constexpr int kMostCards = 64;
  static constexpr int kMostProcesses = 1024;

  /// The table at `path`, made where there is none, with a row for this process. Null where that can't be had: no
  /// such folder, or all rows are taken by processes that live.
  static std::unique_ptr<SharedCards> open(const std::string& path);
  SharedCards(const SharedCards&) = delete;
  SharedCards& operator=(const SharedCards&) = delete;
  ~SharedCards();

  /// This process holds `live` of the card from now on. False, with nothing changed: with what the others hold, that is
  /// more than `most`.
  bool hold(int card, Bytes live, Bytes most);
  /// What the other processes hold of the card.
  Bytes others(int card);
  /// The most that all processes held of the card at once.
  Bytes peak(int card) const;

 private:
  struct Table;
  SharedCards(Table* table, int row) : table_(table), row_(row) {}
  Bytes others_locked(int card) const;

  Table* table_;
  int row_;
};

/// One card of them, as the ledger of a process knows it.
struct SharedCard {
  SharedCards* cards = nullptr;
  int card = 0;  ///< among all cards of the machine, whichever the process sees
};

}  // namespace vramwise::emulator

// A line on the terminal while a search takes its time.
#pragma once

#include <chrono>

#include "plan/training/request.h"

namespace vramwise::cli {

/// On stderr, from the first second on, if that is a terminal; gone once the search is over.
class SearchProgress final : public SearchSink {
 public:
  SearchProgress();
  SearchProgress(const SearchProgress&) = delete;
  SearchProgress& operator=(const SearchProgress&) = delete;
  ~SearchProgress() override { clear(); }
  void on_replay() override;
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  bool is_terminal_;
  bool is_shown_ = false;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point next_ = begin_ + std::chrono::seconds(1);
  int replays_ = 0;
};

}  // namespace vramwise::cli

// See search_progress.h.
#include "cli/search_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace vramwise::cli {
namespace {

constexpr const char* kErased = "\r\033[K";
constexpr std::chrono::milliseconds kBetween{200};

}  // namespace

SearchProgress::SearchProgress() : is_terminal_(isatty(STDERR_FILENO) != 0) {}

void SearchProgress::on_replay() {
  ++replays_;
  const Clock::time_point now = Clock::now();
  if (!is_terminal_ || now < next_) return;
  next_ = now + kBetween;
  is_shown_ = true;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  fmt::print(stderr, "{}searching: {} configurations replayed, {:.0f} s", kErased, replays_, seconds);
  std::fflush(stderr);
}

void SearchProgress::clear() {
  if (!is_shown_) return;
  fmt::print(stderr, "{}", kErased);
  std::fflush(stderr);
  is_shown_ = false;
}

}  // namespace vramwise::cli

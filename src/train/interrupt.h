// Interrupt: SIGINT and SIGTERM as a request to stop after the current micro-batch.
#pragma once

#include <csignal>

namespace vramwise {

/// While one lives, the first signal is only remembered; a second one ends the process at once, with 128 + its number.
/// At most one at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// The signal that arrived, or 0.
  static int signal_received();

 private:
  struct sigaction old_interrupt_{};
  struct sigaction old_terminate_{};
};

}  // namespace vramwise

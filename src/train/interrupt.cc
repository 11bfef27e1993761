// A signal handler may touch nothing but a lock-free atomic, and has no other way to reach it than a global.
#include "train/interrupt.h"

#include <unistd.h>

#include <atomic>

#include "base/check.h"

namespace vramwise {
namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int signal_number) {
  int expected = 0;
  if (!received.compare_exchange_strong(expected, signal_number)) ::_exit(128 + signal_number);
}

}  // namespace

Interrupt::Interrupt() {
  received = 0;
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  VRAMWISE_CHECK(::sigaction(SIGINT, &action, &old_interrupt_) == 0);
  VRAMWISE_CHECK(::sigaction(SIGTERM, &action, &old_terminate_) == 0);
}

Interrupt::~Interrupt() {
  ::sigaction(SIGINT, &old_interrupt_, nullptr);
  ::sigaction(SIGTERM, &old_terminate_, nullptr);
}

int Interrupt::signal_received() { return received; }

}  // namespace vramwise

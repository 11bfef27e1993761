// Sums and comparisons only: what is live, what was the most, and what was refused.
#include "emulator/state/device_ledger.h"

namespace vramwise::emulator {

Bytes DeviceLedger::free() const {
  const Bytes left = capacity_ - other_ - live_;
  return left < Bytes(0) ? Bytes(0) : left;
}

bool DeviceLedger::add(Bytes size, Moment when) {
  if (size > free()) {
    events_.push_back({size, free(), when});
    return false;
  }
  live_ += size;
  if (live_ > peak_) {
    peak_ = live_;
    peak_moment_ = when;
  }
  return true;
}

bool DeviceLedger::take(Bytes size, Moment when) {
  if (!add(size.rounded_up(kGranule), when)) return false;
  ++allocations_;
  return true;
}

void DeviceLedger::give_back(Bytes size) {
  live_ -= size.rounded_up(kGranule);
  VRAMWISE_CHECK(live_ >= context_);
}

bool DeviceLedger::open_context(Bytes size, Moment when) {
  if (!add(size, when)) return false;
  context_ += size;
  return true;
}

}  // namespace vramwise::emulator

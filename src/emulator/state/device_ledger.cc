// Sums and comparisons only: what is live, what was the most, and what was refused.
#include "emulator/state/device_ledger.h"

namespace vramwise::emulator {

Bytes DeviceLedger::free() const {
  const Bytes left = capacity_ - other_ - neighbours() - live_;
  return left < Bytes(0) ? Bytes(0) : left;
}

Bytes DeviceLedger::neighbours() const { return shared_.cards ? shared_.cards->others(shared_.card) : Bytes(0); }

Bytes DeviceLedger::together_peak() const { return shared_.cards ? shared_.cards->peak(shared_.card) : Bytes(0); }

bool DeviceLedger::add(Bytes size, Moment when) {
  const Bytes most = capacity_ - other_;
  const Bytes wanted = live_ + size;
  if (shared_.cards ? !shared_.cards->hold(shared_.card, wanted, most) : wanted > most) {
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
  if (shared_.cards) shared_.cards->hold(shared_.card, live_, capacity_);
}

bool DeviceLedger::open_context(Bytes size, Moment when) {
  if (!add(size, when)) return false;
  context_ += size;
  return true;
}

}  // namespace vramwise::emulator

// Work into seconds. A kernel takes what an empty one takes, and the slower of its arithmetic and its traffic; the
// device works through kernels one after the other while the host launches them ahead, so that a step lasts as long as
// the slower of both.
#pragma once

#include <algorithm>

#include "cost/device_rates.h"
#include "tape/tape.h"

namespace vramwise {

/// Kernels added up for one device.
class KernelTimes {
 public:
  explicit KernelTimes(const DeviceRates& rates)
      : bandwidth_byte_s_(rates.bandwidth_byte_s), shortest_s_(rates.shortest_kernel_s), launch_s_(rates.launch_s) {}

  /// `count` equal kernels of so many operations at `flop_s` and so many bytes of traffic each.
  void add(double flops, double bytes, double flop_s, double count = 1) {
    const double busy = std::max(flops / flop_s, bytes / bandwidth_byte_s_);
    device_s_ += count * (busy + shortest_s_);
    launches_ += count;
  }
  /// Kernels that only move bytes: `bytes` over all of them.
  void move(double bytes, double count = 1) { add(0, bytes / count, 1, count); }

  double seconds() const { return std::max(device_s_, launches_ * launch_s_); }
  double device_seconds() const { return device_s_; }
  double launches() const { return launches_; }

  /// The same kernels `count` times over, behind these.
  void append(const KernelTimes& other, double count) {
    device_s_ += other.device_s_ * count;
    launches_ += other.launches_ * count;
  }

 private:
  double bandwidth_byte_s_;
  double shortest_s_;
  double launch_s_;
  double device_s_ = 0;
  double launches_ = 0;
};

/// Seconds of what a tape counted on hardware_of() the card; attention is computed in `precision`.
double seconds_of(const tape::Work& work, const DeviceRates& rates, Precision precision);

}  // namespace vramwise

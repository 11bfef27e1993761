// How fast one device computes and moves bytes: what kernels reach there, not what a datasheet promises.
#pragma once

#include <cstdint>
#include <string>

#include "estimate/step.h"
#include "gpus/catalogue.h"
#include "tape/hardware.h"

namespace vramwise {

struct DeviceRates {
  // The defaults are those of an RTX 3060 12 GB, which stands in for a card that nobody named.
  double matmul_fp32_flop_s = 6.7e12;
  double matmul_16bit_flop_s = 21.6e12;
  double attention_fp32_flop_s = 4.7e12;
  double attention_16bit_flop_s = 12.7e12;
  double bandwidth_byte_s = 302e9;  ///< of the device's own memory, reads and writes together
  double pcie_byte_s = 25.8e9;      ///< one direction
  /// What a ring of collectives reaches between such cards of one machine, one direction.
  double link_byte_s = 14e9;
  /// What AdamW on the host streams through its memory; two channels of DDR4-3200 have a peak of 51 GB/s.
  double host_byte_s = 40e9;
  /// The host's work for one kernel. PyTorch's dispatch and launch take 5 to 25 us in Python, less in C++, which has
  /// no interpreter and no bindings (jiahuanglin.xyz, "From PyTorch op to kernel launch").
  double launch_s = 5e-6;
  double shortest_kernel_s = 2e-6;  ///< an empty kernel and the gap behind it
  /// Multiprocessors, which share a matrix product out between them; 0: no GPU, whose products take what they compute.
  int units = 28;
  /// Whether these are this device's own. Otherwise speeds compare with each other and say nothing about seconds.
  bool is_known = false;
  std::string source = "not known: those of an RTX 3060 stand in";

  double matmul_flop_s(Precision precision) const {
    return precision == Precision::kFp32 ? matmul_fp32_flop_s : matmul_16bit_flop_s;
  }
  double attention_flop_s(Precision precision) const {
    return precision == Precision::kFp32 ? attention_fp32_flop_s : attention_16bit_flop_s;
  }

  bool operator==(const DeviceRates&) const = default;
};

/// The card's peaks times what kernels reach of them (gpus/rates.h). Where the catalogue lacks a peak the stand-in's
/// stays, and is_known is false.
DeviceRates device_rates(const GpuModel& model);

/// The card for a tape, with the balance of its rates. What the catalogue lacks is that of the tape's default.
tape::Hardware hardware_of(const GpuModel& model);
/// Gives `hardware` the balance of other rates, such as calibrated() ones.
void balance(tape::Hardware& hardware, const DeviceRates& rates);

/// A CPU of which nothing is known: ratios that order configurations, not seconds.
DeviceRates cpu_rates(std::int64_t threads);

}  // namespace vramwise

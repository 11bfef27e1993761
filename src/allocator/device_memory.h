// DeviceMemory: the card under the caching allocator: how many bytes it has, and which addresses cudaMalloc returns.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace vramwise {

/// The driver maps device memory in pages of 2 MiB.
inline constexpr std::int64_t kDriverPageBytes = std::int64_t{2} << 20;

inline constexpr std::int64_t round_to_pages(std::int64_t bytes) {
  return (bytes + kDriverPageBytes - 1) & ~(kDriverPageBytes - 1);
}

/// Where segments lie. The caching allocator breaks ties between blocks of one size by address, so the order of
/// addresses is part of its behaviour.
class AddressSource {
 public:
  AddressSource() = default;
  AddressSource(const AddressSource&) = delete;
  AddressSource& operator=(const AddressSource&) = delete;
  virtual ~AddressSource() = default;

  /// An address for `bytes` (a multiple of kDriverPageBytes).
  virtual std::int64_t take(std::int64_t bytes) = 0;
  /// What take() returned for the same `bytes`.
  virtual void give_back(std::int64_t address, std::int64_t bytes) = 0;
};

/// The lowest gap that is large enough, as the emulated device does it. Addresses begin at 0.
class FirstFitAddresses final : public AddressSource {
 public:
  std::int64_t take(std::int64_t bytes) override;
  void give_back(std::int64_t address, std::int64_t bytes) override;

 private:
  struct Gap {
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };
  /// In order; never touching each other.
  std::vector<Gap> gaps_{{.begin = 0, .end = std::numeric_limits<std::int64_t>::max()}};
};

struct DeviceMemoryLimits {
  static constexpr std::int64_t kUnlimited = std::int64_t{1} << 46;

  /// As CUDA reports it for the card (totalGlobalMem).
  std::int64_t total_bytes = kUnlimited;
  /// What others hold of it: this process' CUDA context, other processes.
  std::int64_t taken_bytes = 0;
};

class DeviceMemory {
 public:
  explicit DeviceMemory(DeviceMemoryLimits limits = {}) : DeviceMemory(limits, std::make_unique<FirstFitAddresses>()) {}
  DeviceMemory(DeviceMemoryLimits limits, std::unique_ptr<AddressSource> addresses)
      : total_(limits.total_bytes), free_(limits.total_bytes - limits.taken_bytes), addresses_(std::move(addresses)) {}

  std::int64_t total_bytes() const { return total_; }
  /// Negative: what others took leaves a deficit.
  std::int64_t free_bytes() const { return free_; }

  /// Physical pages for `bytes`; false: the card has not got them.
  bool take(std::int64_t bytes) {
    const std::int64_t pages = round_to_pages(bytes);
    if (pages > free_) return false;
    free_ -= pages;
    return true;
  }
  void give_back(std::int64_t bytes) { free_ += round_to_pages(bytes); }

  std::int64_t take_addresses(std::int64_t bytes) { return addresses_->take(round_to_pages(bytes)); }
  void give_back_addresses(std::int64_t address, std::int64_t bytes) {
    addresses_->give_back(address, round_to_pages(bytes));
  }

 private:
  std::int64_t total_;
  std::int64_t free_;
  std::unique_ptr<AddressSource> addresses_;
};

}  // namespace vramwise

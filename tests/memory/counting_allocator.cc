// The counters outlive every allocator object, since a tensor may be freed after it.
#include "counting_allocator.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace vramwise::testing {
namespace {

struct Counters {
  std::mutex mutex;
  std::unordered_map<void*, std::int64_t> sizes;
  std::int64_t live = 0;
  std::int64_t peak = 0;
  std::function<void(std::int64_t, std::int64_t)> observer;
};

Counters& counters() {
  static auto* const kCounters = new Counters;  // never destroyed: static tensors are freed after main
  return *kCounters;
}

void count(void* data, std::int64_t bytes) {
  Counters& c = counters();
  const std::lock_guard<std::mutex> lock(c.mutex);
  c.sizes[data] = bytes;
  c.live += bytes;
  c.peak = std::max(c.peak, c.live);
  if (c.observer) c.observer(bytes, c.live);
}

void release(void* data) {
  Counters& c = counters();
  {
    const std::lock_guard<std::mutex> lock(c.mutex);
    const auto found = c.sizes.find(data);
    if (found != c.sizes.end()) {
      c.live -= found->second;
      if (c.observer) c.observer(-found->second, c.live);
      c.sizes.erase(found);
    }
  }
  c10::free_cpu(data);
}

class Counting : public at::Allocator {
 public:
  at::DataPtr allocate(std::size_t bytes) override {
    void* const data = c10::alloc_cpu(bytes);
    if (data != nullptr) count(data, static_cast<std::int64_t>(bytes));
    return {data, data, &release, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
};

Counting& counting() {
  static Counting allocator;
  return allocator;
}

constexpr std::uint8_t kPriority = 255;

}  // namespace

CountingAllocator::CountingAllocator() : previous_(c10::GetCPUAllocator()) {
  c10::SetCPUAllocator(&counting(), kPriority);
}

CountingAllocator::~CountingAllocator() {
  set_observer(nullptr);
  c10::SetCPUAllocator(previous_, kPriority);
}

std::int64_t CountingAllocator::live_bytes() const {
  const std::lock_guard<std::mutex> lock(counters().mutex);
  return counters().live;
}

std::int64_t CountingAllocator::peak_bytes() const {
  const std::lock_guard<std::mutex> lock(counters().mutex);
  return counters().peak;
}

void CountingAllocator::reset_peak() {
  const std::lock_guard<std::mutex> lock(counters().mutex);
  counters().peak = counters().live;
}

void CountingAllocator::set_observer(std::function<void(std::int64_t, std::int64_t)> observer) {
  const std::lock_guard<std::mutex> lock(counters().mutex);
  counters().observer = std::move(observer);
}

}  // namespace vramwise::testing

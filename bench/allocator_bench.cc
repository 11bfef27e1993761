// How many allocation events a second the model of the caching allocator replays, beside the same rules written
// plainly: blocks on the heap and std::set, as PyTorch keeps them. Both must come to the same peak. Prints one JSON
// line a pattern; bench/allocator runs this and judges.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "allocator/replay.h"

namespace vramwise {
namespace {

using Event = AllocationEvent;

/// One stream, no options, no limit.
class PlainAllocator {
 public:
  ~PlainAllocator() {
    for (PlainBlock* block : all_) delete block;
  }

  struct PlainBlock {
    std::int64_t order, size;
    PlainBlock *previous = nullptr, *next = nullptr;
    bool small, allocated = false;
  };
  struct Less {
    bool operator()(const PlainBlock* a, const PlainBlock* b) const {
      return a->size != b->size ? a->size < b->size : a->order < b->order;
    }
  };

  PlainBlock* allocate(std::int64_t bytes) {
    const std::int64_t size = rounded_block_bytes(options_, bytes);
    const bool small = is_small_request(size);
    auto& free = free_[small ? 1 : 0];
    PlainBlock key{.order = 0, .size = size, .small = small};
    PlainBlock* block = nullptr;
    if (const auto found = free.lower_bound(&key); found != free.end()) {
      block = *found;
      free.erase(found);
    } else {
      const std::int64_t segment = segment_bytes_for(options_, size);
      block = make({.order = next_order_, .size = segment, .small = small});
      next_order_ += segment;
      reserved_ += segment;
    }
    const std::int64_t rest = block->size - size;
    if (small ? rest >= kMinBlockBytes : rest > kLargestSmallBytes) {
      PlainBlock* front =
          make({.order = block->order, .size = size, .previous = block->previous, .next = block, .small = small});
      if (front->previous != nullptr) front->previous->next = front;
      block->previous = front;
      block->order += size;
      block->size = rest;
      free.insert(block);
      block = front;
    }
    block->allocated = true;
    return block;
  }

  void release(PlainBlock* block) {
    auto& free = free_[block->small ? 1 : 0];
    block->allocated = false;
    if (PlainBlock* before = block->previous; before != nullptr && !before->allocated) {
      free.erase(before);
      block->order = before->order;
      block->size += before->size;
      block->previous = before->previous;
      if (block->previous != nullptr) block->previous->next = block;
      drop(before);
    }
    if (PlainBlock* after = block->next; after != nullptr && !after->allocated) {
      free.erase(after);
      block->size += after->size;
      block->next = after->next;
      if (block->next != nullptr) block->next->previous = block;
      drop(after);
    }
    free.insert(block);
  }

  std::int64_t reserved() const { return reserved_; }

 private:
  PlainBlock* make(const PlainBlock& block) { return *all_.insert(new PlainBlock(block)).first; }
  void drop(PlainBlock* block) {
    all_.erase(block);
    delete block;
  }

  AllocatorOptions options_;
  std::set<PlainBlock*, Less> free_[2];
  std::unordered_set<PlainBlock*> all_;
  std::int64_t next_order_ = 0;
  std::int64_t reserved_ = 0;
};

std::int64_t replay_plainly(const EventList& events, std::size_t ids) {
  PlainAllocator allocator;
  std::vector<PlainAllocator::PlainBlock*> blocks(ids);
  for (const Event& event : events) {
    if (event.kind == EventKind::kAllocate) {
      blocks[event.id] = allocator.allocate(event.bytes);
    } else {
      allocator.release(blocks[event.id]);
    }
  }
  return allocator.reserved();
}

struct Pattern {
  std::string name;
  EventList events;
  std::size_t ids = 0;
  AllocatorOptions options;
};

/// A training step: each layer keeps `kept` tensors and takes as many for a moment; backward frees in reverse.
Pattern training_steps(int layers, int steps, const AllocatorOptions& options, const std::string& name) {
  Pattern pattern{.name = name, .events = {}, .ids = 0, .options = options};
  const std::int64_t sizes[] = {33'554'432, 33'554'432, 16'384, 100'663'296, 11'010'048, 536, 4'194'304, 90'177'536};
  for (int step = 0; step < steps; ++step) {
    AllocationId next = 0;
    std::vector<AllocationId> kept;
    for (int layer = 0; layer < layers; ++layer) {
      for (const std::int64_t size : sizes) {
        pattern.events.push_back(Event::allocate(next, size));
        kept.push_back(next++);
        pattern.events.push_back(Event::allocate(next, size / 2 + 1));
        pattern.events.push_back(Event::free(next++));
      }
    }
    while (!kept.empty()) {
      pattern.events.push_back(Event::allocate(next, 8'388'608));
      pattern.events.push_back(Event::free(kept.back()));
      pattern.events.push_back(Event::free(next++));
      kept.pop_back();
    }
    pattern.ids = std::max<std::size_t>(pattern.ids, next);
  }
  return pattern;
}

/// Sizes and lifetimes without any order: the worst that a program could do.
Pattern without_order(std::size_t count) {
  Pattern pattern{.name = "without order", .events = {}, .ids = 0, .options = {}};
  std::mt19937_64 random(7);
  std::vector<AllocationId> live;
  AllocationId next = 0;
  while (pattern.events.size() < count) {
    if (live.empty() || (live.size() < 3000 && random() % 2 == 0)) {
      pattern.events.push_back(
          Event::allocate(next, 1 + static_cast<std::int64_t>(random() % (1U << (8 + random() % 18)))));
      live.push_back(next++);
    } else {
      std::swap(live[random() % live.size()], live.back());
      pattern.events.push_back(Event::free(live.back()));
      live.pop_back();
    }
  }
  pattern.ids = next;
  return pattern;
}

template <typename Work>
double seconds_of(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The best of several runs in turns: what the machine's other work takes is no property of the code.
void measure(const Pattern& pattern) {
  double ours = 1e9;
  double plain = 1e9;
  std::int64_t our_peak = 0;
  std::int64_t plain_peak = 0;
  const auto rounds = static_cast<int>(2'000'000 / pattern.events.size()) + 3;
  for (int round = 0; round < rounds; ++round) {
    ours = std::min(ours, seconds_of([&] { our_peak = replay(pattern.events, pattern.options).reserved.bytes; }));
    plain = std::min(plain, seconds_of([&] { plain_peak = replay_plainly(pattern.events, pattern.ids); }));
  }
  if (!pattern.options.expandable_segments && our_peak != plain_peak) {
    fmt::print(stderr, "{}: peaks differ: {} and {}\n", pattern.name, our_peak, plain_peak);
    std::exit(1);
  }
  const auto events = static_cast<double>(pattern.events.size());
  fmt::print(
      "{{\"pattern\": \"{}\", \"events\": {}, \"us\": {:.1f}, \"million_events_per_s\": {:.1f}, \"times_std_set\": "
      "{:.2f}}}\n",
      pattern.name, pattern.events.size(), ours * 1e6, events / ours / 1e6, plain / ours);
}

void measure_all() {
  measure(training_steps(32, 1, {}, "one step, 32 layers"));
  measure(training_steps(126, 3, {}, "three steps, 126 layers"));
  measure(training_steps(126, 3, {.expandable_segments = true}, "three steps, 126 layers, expandable segments"));
  measure(without_order(40'000));
}

}  // namespace
}  // namespace vramwise

int main() {
  vramwise::measure_all();
  return 0;
}

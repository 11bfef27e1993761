// The whole state of the emulated machine in one process: one object, made at the program's first call and never
// destroyed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "emulator/state/card.h"
#include "emulator/state/handles.h"
#include "emulator/state/memory.h"
#include "emulator/state/modules.h"
#include "emulator/state/recorder.h"
#include "emulator/state/shared_cards.h"

namespace vramwise::emulator {

/// What the virtual clock charges. The figures are of the order of a real card's, and only their being fixed matters:
/// the same run takes the same virtual time whenever it is repeated.
struct Costs {
  static constexpr std::int64_t kCallNs = 500;
  static constexpr std::int64_t kKernelNs = 5'000;
  static constexpr std::int64_t kCopyNs = 10'000;
  static constexpr std::int64_t kCollectiveNs = 50'000;
  /// With lag: a launch costs the host half of what the kernel costs the card, so that the card falls behind, until its
  /// queue is full (a launch then waits; CUDA's holds about a thousand).
  static constexpr std::int64_t kLaunchNs = 2'500;
  static constexpr std::int64_t kLongestQueueNs = 1'000 * kKernelNs;
};

/// CUcontext of a card's primary context.
struct Context {
  int device = 0;
};

class Machine {
 public:
  Machine(MachineSpec spec, const char* visible);

  /// Cards that other processes of this run use too. Before anything is taken.
  void share(std::unique_ptr<SharedCards> cards);
  /// What other processes of this run hold of a card, by its place among all cards.
  Bytes neighbours(int physical_index) { return shared_ ? shared_->others(physical_index) : Bytes(0); }

  int device_count() const { return static_cast<int>(cards_.size()); }
  bool has_device(int device) const { return device >= 0 && device < device_count(); }
  const CardSpec& card(int device) const { return cards_[static_cast<std::size_t>(device)]; }
  const std::vector<CardSpec>& cards() const { return cards_; }
  const MachineSpec& spec() const { return spec_; }
  /// Where the n-th visible card stands among all cards of the machine.
  int physical_index(int device) const { return visible_[static_cast<std::size_t>(device)]; }

  /// Opens the primary context of a card, once. False: no memory for it.
  bool open_context(int device);
  bool has_context(int device) const { return open_[static_cast<std::size_t>(device)]; }
  Context* context(int device) { return &contexts_[static_cast<std::size_t>(device)]; }

  Memory& memory() { return memory_; }
  const Memory& memory() const { return memory_; }
  Recorder& recorder() { return recorder_; }
  const Recorder& recorder() const { return recorder_; }

  /// Device memory of NCCL communicators. False: the card has not got it.
  bool take_for_communicator(int device, Bytes size);
  void give_back_of_communicator(int device, Bytes size);
  /// The most that communicators held of a card at once.
  Bytes communicator_peak(int device) const { return communicators_[static_cast<std::size_t>(device)].peak; }

  MemoryPool& pool(int device) { return pools_[static_cast<std::size_t>(device)]; }

  /// Lets the virtual clock run on.
  void advance(std::int64_t ns) { now_.time_ns += ns; }
  /// Work of that length on a stream. Without lag it is done when the call returns.
  void work(void* stream, int device, std::int64_t ns);
  /// The host waits for a moment; without lag, nothing is later than now.
  void wait_until(std::int64_t time_ns) { now_.time_ns = std::max(now_.time_ns, time_ns); }
  /// The host waits for all streams of a card.
  void wait_for_device(int device);
  bool lags() const { return spec_.lag; }
  /// The next change of a ledger.
  Moment next_moment() {
    ++now_.sequence;
    return now_;
  }
  const Moment& now() const { return now_; }

  Stream* create_stream(int device, unsigned flags, int priority);
  bool destroy_stream(Stream* stream);
  /// The stream behind a handle; the handles 0, 1 and 2 are the default streams of `device`. Null: no such stream.
  Stream* stream(void* handle, int device);
  /// A kernel launch: time passes, and a stream under capture gets a node.
  void count_launch(void* stream, int device);
  Event* create_event(int device);
  bool destroy_event(Event* event);
  bool is_event(const Event* event) const { return events_.contains(event); }
  std::uint64_t next_capture_id() { return ++captures_; }
  /// Calls `visit` with every stream, default ones first.
  template <typename Visit>
  void each_stream(Visit visit) {
    for (auto& stream : default_streams_) visit(*stream);
    for (Stream* stream : streams_) visit(*stream);
  }

 private:
  MachineSpec spec_;
  std::vector<int> visible_;
  std::vector<CardSpec> cards_;
  std::vector<Context> contexts_;
  std::vector<bool> open_;
  std::unique_ptr<SharedCards> shared_;  ///< null: this process is by itself
  Memory memory_;
  struct Communicators {
    Bytes live;
    Bytes peak;
  };
  std::vector<MemoryPool> pools_;
  std::vector<Communicators> communicators_;
  Recorder recorder_;
  Moment now_;
  std::vector<std::unique_ptr<Stream>> default_streams_;
  std::unordered_set<Stream*> streams_;
  std::unordered_set<const Event*> events_;
  std::uint64_t captures_ = 0;
};

}  // namespace vramwise::emulator

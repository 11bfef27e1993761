// The coordinator of ZeRO-3: gathers a module's parameters before it runs forward or backward and lets go of them
// after. The first pass is recorded; in later ones what comes next is gathered ahead, on a stream of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tape/parallel/module_hooks.h"
#include "tape/parallel/zero3_parameters.h"

namespace vramwise::tape {

class SavedHooks;

/// Settings of stage 3, all in elements.
struct Zero3Options {
  std::int64_t prefetch_bucket_size = 50'000'000;
  std::int64_t max_live_parameters = 1'000'000'000;
  std::int64_t max_reuse_distance = 1'000'000'000;
  std::int64_t persistence_threshold = 100'000;  ///< of one parameter
  std::int64_t model_persistence_threshold = std::numeric_limits<std::int64_t>::max();
  std::int64_t sub_group_size = 1'000'000'000;  ///< of what the optimizer steps at once
};

class Zero3Coordinator final : public ModuleHooks {
 public:
  /// `gather_stream`: 0 for the default one.
  Zero3Coordinator(Tape& tape, Zero3Parameters& parameters, const Zero3Options& options, StreamIndex gather_stream)
      : tape_(tape), parameters_(parameters), options_(options), gather_stream_(gather_stream) {}

  /// Before each forward pass.
  void reset_step();
  /// After each backward pass: what modules hold that no gradient has come to.
  void release_leftovers();
  /// Before the optimizer's step.
  void partition_all();

  void enter(ModuleId id, std::initializer_list<const Tensor*> parameters) override;
  Tensor input(ModuleId id, const Tensor& x) override;
  void leave(ModuleId id) override;
  Tensor output(ModuleId id, const Tensor& x) override;

 private:
  struct Module {
    std::vector<std::size_t> own;  ///< indices of its parameters
    int gradients_left = 0;        ///< of its inputs, in this pass
    int runs = 0;                  ///< results whose gradients are still to come
  };
  /// An all-gather that somebody has still to wait for. Work of NCCL's keeps the state of the thread that started it.
  struct Gather {
    explicit Gather(SavedHooks* hooks);
    Gather(const Gather&) = delete;
    Gather& operator=(const Gather&) = delete;
    ~Gather();

    SavedHooks* hooks;  ///< counted
    Tensor flat;        ///< undefined where the only parameter came in memory of its own
    std::vector<std::size_t> parameters;
    bool is_complete = false;
  };
  struct Use {
    std::size_t parameter = 0;
    std::int64_t step = 0;
  };
  enum class Trace : std::uint8_t { kNone, kRecording, kComplete };

  Module& module(ModuleId id) { return modules_.at(id); }
  void visit(ModuleId id, bool is_forward);
  void fetch(ModuleId id);
  void prefetch(const Module& current);
  void start_gather(std::vector<std::size_t> wanted);
  void wait_for(std::size_t index);
  void complete(Gather& gather);
  void release(ModuleId id, bool is_forward);
  void release(std::size_t index);
  const std::vector<std::size_t>& to_release(ModuleId id);
  std::vector<std::size_t> not_used_soon(const Module& leaving);
  void end_recording();
  void compare_over_ranks(std::size_t count);
  void finish_in_flight();

  Tape& tape_;
  Zero3Parameters& parameters_;
  Zero3Options options_;
  StreamIndex gather_stream_;
  std::map<ModuleId, Module> modules_;
  std::vector<ModuleId> in_backward_;  ///< in the order in which their backward passes began
  std::map<std::size_t, std::shared_ptr<Gather>> in_flight_;

  Trace trace_ = Trace::kNone;
  std::vector<ModuleId> order_;            ///< of a forward and a backward pass
  std::vector<Use> uses_;                  ///< of parameters, in that order
  std::deque<Use> queue_;                  ///< those still to come
  std::vector<std::int64_t> fetched_for_;  ///< of each parameter, the last step that it was fetched for
  std::int64_t step_ = 0;                  ///< a module's turn in the trace
  std::int64_t live_numel_ = 0;
  std::map<std::pair<ModuleId, std::int64_t>, std::vector<std::size_t>> releases_;
};

}  // namespace vramwise::tape

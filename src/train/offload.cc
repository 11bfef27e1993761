// The device keeps weights and gradients only.
//
// CUDA: states and an fp32 master copy lie in ordinary host memory (pinned memory would be rounded up to powers of two
// by PyTorch's host allocator). Gradients come down and weights go up through two small pinned slots each, so that the
// transfer of one piece overlaps the arithmetic of another.
//
// CPU: states lie in a shared file mapping. Pages of a file can leave memory, unlike anonymous ones; after each piece
// they are let go, so that only one piece at a time is resident.
#include "train/offload.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "io/files.h"

namespace vramwise {
namespace {

constexpr std::int64_t kPiece = std::int64_t{1} << 22;  // elements; 16 MiB in fp32

/// A file-backed array of zeros without a name.
class FileMapping {
 public:
  static Result<std::unique_ptr<FileMapping>> create(const std::string& folder, std::int64_t bytes) {
    std::string path = join_path(folder, ".optimizer-XXXXXX");
    const int descriptor = ::mkostemp(path.data(), O_CLOEXEC);
    if (descriptor < 0) return file_error("write", path, errno);
    ::unlink(path.c_str());
    // Space is taken now: a store into a page that the disk has no room for would be a SIGBUS.
    const int failure = ::posix_fallocate(descriptor, 0, bytes);
    void* data = failure != 0 ? MAP_FAILED
                              : ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED,
                                       descriptor, 0);
    const int error_number = failure != 0 ? failure : errno;
    ::close(descriptor);
    if (data == MAP_FAILED) return file_error("keep optimizer states in", folder, error_number);
    return std::unique_ptr<FileMapping>(new FileMapping(static_cast<float*>(data), bytes));
  }

  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;
  ~FileMapping() { ::munmap(data_, static_cast<std::size_t>(bytes_)); }

  float* data() const { return data_; }

  /// Elements [begin, end) of the mapping leave resident memory; what was written to them stays in the file.
  void release(std::int64_t begin, std::int64_t end) const {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    // The mapping begins with a page.
    const std::uintptr_t from = (static_cast<std::uintptr_t>(begin) * sizeof(float) + page - 1) / page * page;
    const std::uintptr_t to = static_cast<std::uintptr_t>(end) * sizeof(float) / page * page;
    if (from < to) ::madvise(reinterpret_cast<char*>(data_) + from, to - from, MADV_DONTNEED);
  }

 private:
  FileMapping(float* data, std::int64_t bytes) : data_(data), bytes_(bytes) {}

  float* data_;
  std::int64_t bytes_;
};

class FileOptimizer : public Optimizer {
 public:
  FileOptimizer(FlatModel model, OptimizerState state, AdamWRule rule, std::unique_ptr<FileMapping> mapping)
      : Optimizer(std::move(model), std::move(state)), rule_(rule), mapping_(std::move(mapping)) {}

  void step(const AdamWStep& step) override {
    const torch::NoGradGuard no_grad;
    const std::int64_t size = model_.weights.numel();
    for (std::int64_t begin = 0; begin < size; begin += kPiece) {
      const std::int64_t count = std::min(kPiece, size - begin);
      const auto piece = [&](const torch::Tensor& flat) { return flat.narrow(0, begin, count); };
      const bool has_master = state_.master.defined();
      rule_.apply({begin, piece(has_master ? state_.master : model_.weights), piece(model_.gradients),
                   piece(state_.exp_avg), piece(state_.exp_avg_sq)},
                  step);
      if (has_master) piece(model_.weights).copy_(piece(state_.master));
      for (const torch::Tensor* state : {&state_.master, &state_.exp_avg, &state_.exp_avg_sq}) {
        if (state->defined()) release(piece(*state));
      }
    }
  }

  void release_pages() override {
    for (const torch::Tensor* state : {&state_.master, &state_.exp_avg, &state_.exp_avg_sq}) {
      if (state->defined()) release(*state);
    }
  }

 private:
  void release(const torch::Tensor& part) const {
    const std::int64_t begin = part.const_data_ptr<float>() - mapping_->data();
    mapping_->release(begin, begin + part.numel());
  }

  AdamWRule rule_;
  std::unique_ptr<FileMapping> mapping_;
};

Result<std::unique_ptr<Optimizer>> make_file_optimizer(const FlatLayout& layout, const FlatModel& model,
                                                       const AdamWRule& rule, const std::string& folder) {
  const bool has_master = model.weights.scalar_type() != torch::kFloat;
  const std::int64_t buffers = has_master ? 3 : 2;
  VRAMWISE_ASSIGN_OR_RETURN(std::unique_ptr<FileMapping> mapping,
                            FileMapping::create(folder, buffers * layout.size() * std::int64_t{sizeof(float)}));
  const auto buffer = [&](std::int64_t i) {
    return torch::from_blob(mapping->data() + i * layout.size(), {layout.size()}, torch::kFloat);
  };
  OptimizerState state;
  state.exp_avg = buffer(0);
  state.exp_avg_sq = buffer(1);
  if (has_master) state.master = buffer(2);
  return std::unique_ptr<Optimizer>(std::make_unique<FileOptimizer>(model, state, rule, std::move(mapping)));
}

torch::Tensor pinned(std::int64_t count, torch::ScalarType type) {
  const auto options = torch::TensorOptions().dtype(type);
  try {
    return torch::empty({count}, options.pinned_memory(true));
  } catch (const c10::Error&) {
    return torch::empty({count}, options);  // locked memory is limited (ulimit -l, containers): slower, but right
  }
}

class HostOptimizer : public Optimizer {
 public:
  HostOptimizer(FlatModel model, OptimizerState state, AdamWRule rule)
      : Optimizer(std::move(model), std::move(state)), rule_(rule) {
    const std::int64_t count = std::min(kPiece, model_.weights.numel());
    for (Slot& slot : slots_) {
      slot.gradients = pinned(count, torch::kFloat);
      slot.weights = pinned(count, model_.weights.scalar_type());
    }
  }

  void step(const AdamWStep& step) override {
    const torch::NoGradGuard no_grad;
    const std::int64_t pieces = (model_.weights.numel() + kPiece - 1) / kPiece;
    fetch(0);
    for (std::int64_t i = 0; i < pieces; ++i) {
      // Enqueued before this piece is waited for, so that the next one travels meanwhile.
      if (i + 1 < pieces) fetch(i + 1);
      Slot& slot = slots_[static_cast<std::size_t>(i % 2)];
      slot.fetched.synchronize();
      const torch::Tensor master = piece(state_.master, i);
      rule_.apply({i * kPiece, master, slot.gradients.narrow(0, 0, master.numel()), piece(state_.exp_avg, i),
                   piece(state_.exp_avg_sq, i)},
                  step);
      slot.sent.synchronize();  // of the piece before the last, which used this slot
      torch::Tensor weights = slot.weights.narrow(0, 0, master.numel());
      weights.copy_(master);
      piece(model_.weights, i).copy_(weights, /*non_blocking=*/true);
      slot.sent.record(stream());
    }
    for (Slot& slot : slots_) slot.sent.synchronize();
  }

 private:
  struct Slot {
    torch::Tensor gradients;
    torch::Tensor weights;
    c10::Event fetched{c10::DeviceType::CUDA};
    c10::Event sent{c10::DeviceType::CUDA};
  };

  static torch::Tensor piece(const torch::Tensor& flat, std::int64_t i) {
    return flat.narrow(0, i * kPiece, std::min(kPiece, flat.numel() - i * kPiece));
  }

  void fetch(std::int64_t i) {
    Slot& slot = slots_[static_cast<std::size_t>(i % 2)];
    const torch::Tensor source = piece(model_.gradients, i);
    slot.gradients.narrow(0, 0, source.numel()).copy_(source, /*non_blocking=*/true);
    slot.fetched.record(stream());
  }

  c10::Stream stream() const {
    const torch::Device device = model_.weights.device();
    return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  }

  AdamWRule rule_;
  std::array<Slot, 2> slots_;
};

}  // namespace

Result<std::unique_ptr<Optimizer>> make_offloaded_optimizer(const FlatLayout& layout, const FlatModel& model,
                                                            const AdamWRule& rule, const std::string& folder) {
  if (model.weights.is_cpu()) return make_file_optimizer(layout, model, rule, folder);
  OptimizerState state;
  state.master = make_flat(layout, torch::kFloat, torch::kCPU);
  state.exp_avg = make_flat(layout, torch::kFloat, torch::kCPU);
  state.exp_avg_sq = make_flat(layout, torch::kFloat, torch::kCPU);
  return std::unique_ptr<Optimizer>(std::make_unique<HostOptimizer>(model, state, rule));
}

}  // namespace vramwise

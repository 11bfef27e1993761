// The program's own cuDNN, asked without a device. Graphs, heuristics and plans are the real library's, and so are the
// workspaces: only handles are ours. Where a handle would tell it the device, it gets a description of the emulated
// card; nothing is ever executed. A plan whose engine compiles its kernel while the program runs (attention, fusions)
// would cost seconds of the host's time for a kernel that is never launched: such a plan is not built, and its
// workspace is what its engine's configuration states. (Where both were compared, with cuDNN 9.24 for 9.0 and 10.0,
// they were equal.)
#include <dlfcn.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "emulator/dnn/backend.h"
#include "emulator/dnn/device_description.h"
#include "emulator/process.h"

namespace vramwise::emulator {
namespace {

constexpr std::size_t kFirstDeviceless = 90800;

// cudnnBackendDescriptorType_t, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t
constexpr int kEngine = 2;
constexpr int kHeuristics = 4;
constexpr int kPlan = 5;
constexpr int kDeviceProperties = 38;
constexpr int kConfigEngine = 300;
constexpr int kConfigWorkspace = 303;
constexpr int kPlanConfig = 401;
constexpr int kPlanWorkspace = 402;
constexpr int kPlanComputedIds = 403;
constexpr int kPlanRunOnlyIds = 404;
constexpr int kEngineBehaviorNotes = 1305;
constexpr int kHeuristicsDevice = 204;
constexpr int kPlanDevice = 407;
constexpr int kEngineDevice = 1307;
constexpr int kDeviceJson = 2702;
constexpr int kHandleType = 0;
constexpr int kIntegerType = 3;
constexpr int kDescriptorType = 15;
constexpr int kBehaviorNoteType = 19;
constexpr int kTextType = 24;
constexpr int kRuntimeCompilation = 0;  // cudnnBackendBehaviorNote_t

/// The functions of the real library.
struct Functions {
  int (*create)(int, BackendDescriptor*) = nullptr;
  int (*destroy)(BackendDescriptor) = nullptr;
  int (*initialize)(BackendDescriptor) = nullptr;
  int (*finalize)(BackendDescriptor) = nullptr;
  int (*set)(BackendDescriptor, int, int, std::int64_t, const void*) = nullptr;
  int (*get)(BackendDescriptor, int, int, std::int64_t, std::int64_t*, void*) = nullptr;
  void (*last_error)(char*, std::size_t) = nullptr;
};

template <typename Function>
bool look_up(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

/// The loaded cuDNN's functions, if it is one that needs no device.
bool load(Functions& out) {
  void* library = dlopen("libcudnn.so.9", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return false;
  std::size_t (*version)() = nullptr;
  return look_up(library, "cudnnGetVersion", version) && version() >= kFirstDeviceless &&
         look_up(library, "cudnnBackendCreateDescriptor", out.create) &&
         look_up(library, "cudnnBackendDestroyDescriptor", out.destroy) &&
         look_up(library, "cudnnBackendInitialize", out.initialize) &&
         look_up(library, "cudnnBackendFinalize", out.finalize) &&
         look_up(library, "cudnnBackendSetAttribute", out.set) &&
         look_up(library, "cudnnBackendGetAttribute", out.get) &&
         look_up(library, "cudnnGetLastErrorString", out.last_error);
}

/// Which attribute of a descriptor of that type names its device; 0: none does.
int device_attribute_of(int type) {
  switch (type) {
    case kEngine:
      return kEngineDevice;
    case kHeuristics:
      return kHeuristicsDevice;
    case kPlan:
      return kPlanDevice;
    default:
      return 0;
  }
}

class RealBackend : public DnnBackend {
 public:
  explicit RealBackend(const Functions& functions) : real_(functions) {}

  int create(int type, BackendDescriptor* descriptor) override {
    const int status = real_.create(type, descriptor);
    if (status != 0 || device_attribute_of(type) == 0) return status;
    const std::lock_guard lock(mutex_);
    types_[*descriptor] = type;
    return status;
  }

  int destroy(BackendDescriptor descriptor) override {
    {
      const std::lock_guard lock(mutex_);
      types_.erase(descriptor);
      plans_.erase(descriptor);
    }
    return real_.destroy(descriptor);
  }

  int initialize(BackendDescriptor descriptor) override { return real_.initialize(descriptor); }

  int finalize(BackendDescriptor descriptor) override {
    const int type = type_of(descriptor);
    if (type == kPlan && leave_unbuilt(descriptor)) return 0;
    if (const int name = device_attribute_of(type); name != 0) {
      const BackendDescriptor device = described_device();
      if (device != nullptr) real_.set(descriptor, name, kDescriptorType, 1, &device);
    }
    return real_.finalize(descriptor);
  }

  int set(BackendDescriptor descriptor, int name, int type, std::int64_t count, const void* elements) override {
    if (type == kHandleType) return 0;  // finalize() names the device
    if (name == kPlanConfig && count == 1) {
      const std::lock_guard lock(mutex_);
      plans_[descriptor].config = *static_cast<const BackendDescriptor*>(elements);
    }
    return real_.set(descriptor, name, type, count, elements);
  }

  int get(BackendDescriptor descriptor, int name, const BackendQuery& query) override {
    if (const auto workspace = unbuilt_workspace(descriptor); workspace && answer_unbuilt(name, query, *workspace)) {
      return 0;
    }
    return real_.get(descriptor, name, query.type, query.room, query.count, query.elements);
  }

  const char* last_error() override {
    static thread_local char text[1024];
    text[0] = '\0';
    real_.last_error(text, sizeof text);
    return text;
  }

  /// The real library's descriptor of the calling thread's current device, made when first asked for; null: it takes
  /// none.
  BackendDescriptor described_device() {
    std::string text;
    int device = 0;
    driver([&](const Machine& machine) {
      device = thread_state().device;
      if (machine.has_device(device)) text = dnn_device_description(machine, device);
      return kSuccess;
    });
    const std::lock_guard lock(mutex_);
    const auto found = devices_.find(device);
    if (found != devices_.end() || text.empty()) return found == devices_.end() ? nullptr : found->second;
    BackendDescriptor made = nullptr;
    if (real_.create(kDeviceProperties, &made) != 0) return nullptr;
    const auto length = static_cast<std::int64_t>(text.size()) + 1;
    if (real_.set(made, kDeviceJson, kTextType, length, text.c_str()) != 0 || real_.finalize(made) != 0) {
      real_.destroy(made);
      made = nullptr;
    }
    devices_[device] = made;
    return made;
  }

 private:
  int type_of(BackendDescriptor descriptor) {
    const std::lock_guard lock(mutex_);
    const auto found = types_.find(descriptor);
    return found == types_.end() ? -1 : found->second;
  }

  struct Plan {
    BackendDescriptor config = nullptr;
    std::optional<std::int64_t> unbuilt_workspace;  ///< of a plan that was not built
  };

  /// Whether an engine of the configuration compiles its kernel when a plan is made.
  bool compiles_at_run_time(BackendDescriptor config) {
    BackendDescriptor engine = nullptr;
    if (real_.create(kEngine, &engine) != 0) return false;
    std::int64_t count = 0;
    int notes[16] = {};
    const bool known = real_.get(config, kConfigEngine, kDescriptorType, 1, &count, &engine) == 0 &&
                       real_.get(engine, kEngineBehaviorNotes, kBehaviorNoteType, 16, &count, notes) == 0;
    real_.destroy(engine);
    const auto* end = notes + std::min<std::int64_t>(count, 16);
    return known && std::find(static_cast<const int*>(notes), end, kRuntimeCompilation) != end;
  }

  bool leave_unbuilt(BackendDescriptor plan) {
    BackendDescriptor config = nullptr;
    {
      const std::lock_guard lock(mutex_);
      const auto found = plans_.find(plan);
      if (found != plans_.end()) config = found->second.config;
    }
    if (config == nullptr || !compiles_at_run_time(config)) return false;
    std::int64_t workspace = 0;
    std::int64_t count = 0;
    if (real_.get(config, kConfigWorkspace, kIntegerType, 1, &count, &workspace) != 0) return false;
    const std::lock_guard lock(mutex_);
    plans_[plan].unbuilt_workspace = workspace;
    return true;
  }

  std::optional<std::int64_t> unbuilt_workspace(BackendDescriptor descriptor) {
    const std::lock_guard lock(mutex_);
    const auto found = plans_.find(descriptor);
    return found == plans_.end() ? std::nullopt : found->second.unbuilt_workspace;
  }

  static bool answer_unbuilt(int name, const BackendQuery& query, std::int64_t workspace) {
    if (name != kPlanWorkspace && name != kPlanComputedIds && name != kPlanRunOnlyIds) return false;
    if (query.count != nullptr) *query.count = name == kPlanWorkspace ? 1 : 0;
    if (name == kPlanWorkspace && query.room > 0) *static_cast<std::int64_t*>(query.elements) = workspace;
    return true;
  }

  Functions real_;
  std::mutex mutex_;
  std::unordered_map<BackendDescriptor, Plan> plans_;
  std::unordered_map<BackendDescriptor, int> types_;
  std::unordered_map<int, BackendDescriptor> devices_;
};

}  // namespace

DnnBackend* real_backend() {
  static RealBackend* instance = [] {
    Functions functions;
    if (!load(functions)) return static_cast<RealBackend*>(nullptr);
    auto* made = new RealBackend(functions);
    return made->described_device() != nullptr ? made : nullptr;
  }();
  return instance;
}

}  // namespace vramwise::emulator

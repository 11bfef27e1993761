// The NVML calls themselves. Each answer is one C call with one refusal code; where a function exists in several
// versions, the newest that the library has is taken. Struct layouts are those of NVIDIA's NVML API reference;
// versioned structs carry sizeof(struct) | version << 24 in their first field, which the library checks.
#include "device/nvml.h"

#include <algorithm>
#include <array>
#include <utility>

namespace vramwise {
namespace {

struct RawMemory {
  unsigned long long total = 0;
  unsigned long long free = 0;
  unsigned long long used = 0;
};
struct RawMemoryV2 {
  unsigned int version = 0;
  unsigned long long total = 0;
  unsigned long long reserved = 0;
  unsigned long long free = 0;
  unsigned long long used = 0;
};
static_assert(sizeof(RawMemoryV2) == 40);

struct RawPci {
  std::array<char, 16> bus_id_legacy{};
  unsigned int domain = 0;
  unsigned int bus = 0;
  unsigned int device = 0;
  unsigned int pci_device_id = 0;
  unsigned int pci_subsystem_id = 0;
  std::array<char, 32> bus_id{};
};
static_assert(sizeof(RawPci) == 68);

// Process lists: the unsuffixed function fills the short form, _v2 and _v3 the long one.
struct RawProcessV1 {
  unsigned int pid = 0;
  unsigned long long used = 0;
};
struct RawProcess {
  unsigned int pid = 0;
  unsigned long long used = 0;
  unsigned int gpu_instance = 0;
  unsigned int compute_instance = 0;
};
static_assert(sizeof(RawProcessV1) == 16 && sizeof(RawProcess) == 24);

constexpr unsigned int kMemoryV2 = sizeof(RawMemoryV2) | (2U << 24U);
constexpr unsigned int kClockSm = 1;                       // NVML_CLOCK_SM
constexpr std::size_t kNameSize = 96;                      // NVML_DEVICE_NAME_V2_BUFFER_SIZE, _UUID_V2_ too
constexpr unsigned long long kLargestMemory = 1ULL << 50;  // above: nonsense, not memory

class LoadedNvml final : public Nvml {
 public:
  LoadedNvml(NvmlLookup lookup, std::string path) : lookup_(std::move(lookup)), path_(std::move(path)) {}
  ~LoadedNvml() override {
    if (started_) call("nvmlShutdown");
  }
  LoadedNvml(const LoadedNvml&) = delete;
  LoadedNvml& operator=(const LoadedNvml&) = delete;

  std::string path() const override { return path_; }

  int start() override {
    int code = call("nvmlInit_v2");
    if (code == kNvmlFunctionNotFound) code = call("nvmlInit");
    started_ = code == kNvmlSuccess;
    return code;
  }

  NvmlValue<std::string> driver_version() override { return text<80>("nvmlSystemGetDriverVersion"); }

  NvmlValue<int> cuda_version() override {
    auto version = number<int>("nvmlSystemGetCudaDriverVersion_v2");
    return version.ok() ? version : number<int>("nvmlSystemGetCudaDriverVersion");
  }

  NvmlValue<int> device_count() override { return number<unsigned int>("nvmlDeviceGetCount_v2"); }

  NvmlValue<NvmlDevice> device(int index) override {
    NvmlDevice handle = nullptr;
    const int code = call("nvmlDeviceGetHandleByIndex_v2", static_cast<unsigned int>(index), &handle);
    return answer<NvmlDevice>(code, handle);
  }

  NvmlValue<std::string> name(NvmlDevice device) override { return text<kNameSize>("nvmlDeviceGetName", device); }
  NvmlValue<std::string> uuid(NvmlDevice device) override { return text<kNameSize>("nvmlDeviceGetUUID", device); }

  NvmlValue<std::string> pci_id(NvmlDevice device) override {
    RawPci pci;
    const int code = call("nvmlDeviceGetPciInfo_v3", device, &pci);
    return answer<std::string>(code, to_text(pci.bus_id));
  }

  NvmlValue<NvmlMemory> memory(NvmlDevice device) override {
    RawMemoryV2 newer;
    newer.version = kMemoryV2;
    if (call("nvmlDeviceGetMemoryInfo_v2", device, &newer) == kNvmlSuccess) {
      return checked(newer.total, newer.free, newer.reserved);
    }
    RawMemory older;
    const int code = call("nvmlDeviceGetMemoryInfo", device, &older);
    if (code != kNvmlSuccess) return NvmlValue<NvmlMemory>::refused(code);
    return checked(older.total, older.free, std::nullopt);
  }

  NvmlValue<std::pair<int, int>> compute_capability(NvmlDevice device) override {
    int major = 0;
    int minor = 0;
    const int code = call("nvmlDeviceGetCudaComputeCapability", device, &major, &minor);
    return answer<std::pair<int, int>>(code, {major, minor});
  }

  NvmlValue<bool> ecc(NvmlDevice device) override { return current_mode("nvmlDeviceGetEccMode", device); }
  NvmlValue<bool> mig(NvmlDevice device) override { return current_mode("nvmlDeviceGetMigMode", device); }

  NvmlValue<bool> display_active(NvmlDevice device) override {
    const auto active = number<unsigned int>("nvmlDeviceGetDisplayActive", device);
    return answer<bool>(active.code, active.value != 0);
  }

  NvmlValue<int> core_count(NvmlDevice device) override {
    return number<unsigned int>("nvmlDeviceGetNumGpuCores", device);
  }

  NvmlValue<int> max_sm_clock_mhz(NvmlDevice device) override {
    unsigned int mhz = 0;
    const int code = call("nvmlDeviceGetMaxClockInfo", device, kClockSm, &mhz);
    return answer<int>(code, static_cast<int>(mhz));
  }

  NvmlValue<std::vector<NvmlProcess>> processes(NvmlDevice device) override {
    auto all = process_list("nvmlDeviceGetComputeRunningProcesses", device);
    auto graphics = process_list("nvmlDeviceGetGraphicsRunningProcesses", device);
    if (!all.ok()) return graphics;
    for (const NvmlProcess& process : graphics.value) {
      const bool known = std::any_of(all.value.begin(), all.value.end(),
                                     [&](const NvmlProcess& other) { return other.pid == process.pid; });
      if (!known) all.value.push_back(process);
    }
    return all;
  }

  NvmlValue<int> max_mig_count(NvmlDevice device) override {
    return number<unsigned int>("nvmlDeviceGetMaxMigDeviceCount", device);
  }
  NvmlValue<NvmlDevice> mig_device(NvmlDevice device, int index) override {
    NvmlDevice handle = nullptr;
    const int code = call("nvmlDeviceGetMigDeviceHandleByIndex", device, static_cast<unsigned int>(index), &handle);
    return answer<NvmlDevice>(code, handle);
  }
  NvmlValue<int> gpu_instance_id(NvmlDevice device) override {
    return number<unsigned int>("nvmlDeviceGetGpuInstanceId", device);
  }
  NvmlValue<int> compute_instance_id(NvmlDevice device) override {
    return number<unsigned int>("nvmlDeviceGetComputeInstanceId", device);
  }

 private:
  template <typename... Arguments>
  int call(const std::string& symbol, Arguments... arguments) {
    using Function = int (*)(Arguments...);
    const auto function = reinterpret_cast<Function>(lookup_(symbol.c_str()));
    return function == nullptr ? static_cast<int>(kNvmlFunctionNotFound) : function(arguments...);
  }

  template <typename T>
  static NvmlValue<T> answer(int code, T value) {
    return code == kNvmlSuccess ? NvmlValue<T>(std::move(value)) : NvmlValue<T>::refused(code);
  }

  template <std::size_t size>
  static std::string to_text(const std::array<char, size>& buffer) {
    return {buffer.begin(), std::find(buffer.begin(), buffer.end(), '\0')};
  }

  // A function whose last arguments are a buffer and its size, after perhaps a device.
  template <std::size_t size, typename... Before>
  NvmlValue<std::string> text(const char* symbol, Before... before) {
    std::array<char, size> buffer{};
    const int code = call(symbol, before..., buffer.data(), static_cast<unsigned int>(size));
    return answer<std::string>(code, to_text(buffer));
  }

  // A function that ends in a pointer to a number of type T.
  template <typename T, typename... Before>
  NvmlValue<int> number(const char* symbol, Before... before) {
    T value = 0;
    const int code = call(symbol, before..., &value);
    return answer<int>(code, static_cast<int>(value));
  }

  // A function that yields the mode now and the mode after the next reset.
  NvmlValue<bool> current_mode(const char* symbol, NvmlDevice device) {
    unsigned int current = 0;
    unsigned int pending = 0;
    const int code = call(symbol, device, &current, &pending);
    return answer<bool>(code, current != 0);
  }

  // A total of 0, or one beyond reason, is how some unified-memory parts and virtual cards say "not available".
  static NvmlValue<NvmlMemory> checked(unsigned long long total, unsigned long long free,
                                       std::optional<unsigned long long> reserved) {
    if (total == 0 || total > kLargestMemory || free > total) return NvmlValue<NvmlMemory>::refused(kNvmlNotSupported);
    NvmlMemory memory;
    memory.total = static_cast<std::int64_t>(total);
    memory.free = static_cast<std::int64_t>(free);
    if (reserved && *reserved <= total - free) memory.reserved = static_cast<std::int64_t>(*reserved);
    return memory;
  }

  NvmlValue<std::vector<NvmlProcess>> process_list(const std::string& symbol, NvmlDevice device) {
    for (const char* suffix : {"_v3", "_v2"}) {
      if (lookup_((symbol + suffix).c_str()) != nullptr) return process_list_as<RawProcess>(symbol + suffix, device);
    }
    return process_list_as<RawProcessV1>(symbol, device);
  }

  // The list may grow between the question for its size and the question for its content: leave room, ask again.
  template <typename Raw>
  NvmlValue<std::vector<NvmlProcess>> process_list_as(const std::string& symbol, NvmlDevice device) {
    std::vector<Raw> raw(32);
    for (int attempt = 0; attempt < 4; ++attempt) {
      auto count = static_cast<unsigned int>(raw.size());
      const int code = call(symbol, device, &count, raw.data());
      if (code == kNvmlInsufficientSize) {
        raw.resize(std::min<std::size_t>(std::size_t{2} * count + 32, 65536));
        continue;
      }
      if (code != kNvmlSuccess) return NvmlValue<std::vector<NvmlProcess>>::refused(code);
      raw.resize(std::min<std::size_t>(count, raw.size()));
      return to_processes(raw);
    }
    return NvmlValue<std::vector<NvmlProcess>>::refused(kNvmlInsufficientSize);
  }

  template <typename Raw>
  static std::vector<NvmlProcess> to_processes(const std::vector<Raw>& raw) {
    std::vector<NvmlProcess> list;
    for (const Raw& process : raw) {
      NvmlProcess& entry = list.emplace_back();
      entry.pid = process.pid;
      // WSL and Windows report NVML_VALUE_NOT_AVAILABLE here: all bits set.
      if (process.used < kLargestMemory) {
        entry.used_bytes = static_cast<std::int64_t>(process.used);
      }
    }
    return list;
  }

  NvmlLookup lookup_;
  std::string path_;
  bool started_ = false;
};

}  // namespace

std::string nvml_code_name(int code) {
  static constexpr std::pair<int, const char*> kNames[] = {
      {0, "NVML_SUCCESS"},
      {1, "NVML_ERROR_UNINITIALIZED"},
      {2, "NVML_ERROR_INVALID_ARGUMENT"},
      {3, "NVML_ERROR_NOT_SUPPORTED"},
      {4, "NVML_ERROR_NO_PERMISSION"},
      {6, "NVML_ERROR_NOT_FOUND"},
      {7, "NVML_ERROR_INSUFFICIENT_SIZE"},
      {8, "NVML_ERROR_INSUFFICIENT_POWER"},
      {9, "NVML_ERROR_DRIVER_NOT_LOADED"},
      {10, "NVML_ERROR_TIMEOUT"},
      {11, "NVML_ERROR_IRQ_ISSUE"},
      {12, "NVML_ERROR_LIBRARY_NOT_FOUND"},
      {13, "NVML_ERROR_FUNCTION_NOT_FOUND"},
      {15, "NVML_ERROR_GPU_IS_LOST"},
      {16, "NVML_ERROR_RESET_REQUIRED"},
      {17, "NVML_ERROR_OPERATING_SYSTEM"},
      {18, "NVML_ERROR_LIB_RM_VERSION_MISMATCH"},
      {19, "NVML_ERROR_IN_USE"},
      {20, "NVML_ERROR_MEMORY"},
      {999, "NVML_ERROR_UNKNOWN"},
  };
  const auto* found =
      std::find_if(std::begin(kNames), std::end(kNames), [&](auto& entry) { return entry.first == code; });
  const std::string name = found == std::end(kNames) ? "NVML error" : found->second;
  return name + " (" + std::to_string(code) + ")";
}

std::unique_ptr<Nvml> make_nvml(NvmlLookup lookup, std::string path) {
  return std::make_unique<LoadedNvml>(std::move(lookup), std::move(path));
}

}  // namespace vramwise

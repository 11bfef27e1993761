// Nvml: NVIDIA's management library as an interface of typed questions, each answered or refused by itself.
//
// The library comes with the driver, so it is older or newer than any header: symbols are looked up one by one at run
// time, and a question whose symbol is missing is answered as NVML answers one that a card does not support. Names,
// codes and struct layouts follow NVIDIA's NVML API reference (docs.nvidia.com/deploy/nvml-api).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vramwise {

/// Values of nvmlReturn_t that we tell apart.
enum NvmlCode : int {
  kNvmlSuccess = 0,
  kNvmlUninitialized = 1,
  kNvmlInvalidArgument = 2,
  kNvmlNotSupported = 3,
  kNvmlNoPermission = 4,
  kNvmlNotFound = 6,
  kNvmlInsufficientSize = 7,
  kNvmlDriverNotLoaded = 9,
  kNvmlFunctionNotFound = 13,  ///< also: our answer where the library lacks the symbol
  kNvmlGpuIsLost = 15,
  kNvmlLibRmVersionMismatch = 18,
  kNvmlUnknown = 999,
};

/// "NVML_ERROR_GPU_IS_LOST (15)"
std::string nvml_code_name(int code);

/// An answer, or the code of the refusal.
template <typename T>
struct NvmlValue {
  int code = kNvmlSuccess;
  T value{};

  NvmlValue(T answer) : value(std::move(answer)) {}  // NOLINT(google-explicit-constructor)
  static NvmlValue refused(int code) {
    NvmlValue result{T{}};
    result.code = code;
    return result;
  }
  bool ok() const { return code == kNvmlSuccess; }
  std::optional<T> optional() const { return ok() ? std::optional<T>(value) : std::nullopt; }
};

/// nvmlDevice_t: the library's own pointer, meaningless outside it.
using NvmlDevice = void*;

struct NvmlMemory {
  std::int64_t total = 0;  ///< bytes, all of them
  std::int64_t free = 0;
  std::optional<std::int64_t> reserved;  ///< by driver and firmware; only newer libraries (R510) tell
};

struct NvmlProcess {
  std::int64_t pid = 0;
  std::optional<std::int64_t> used_bytes;
};

class Nvml {
 public:
  virtual ~Nvml() = default;

  virtual std::string path() const = 0;
  /// kNvmlSuccess or why not. Once it succeeded, the destructor shuts the library down.
  virtual int start() = 0;

  virtual NvmlValue<std::string> driver_version() = 0;
  virtual NvmlValue<int> cuda_version() = 0;  ///< 13000 for 13.0
  virtual NvmlValue<int> device_count() = 0;
  virtual NvmlValue<NvmlDevice> device(int index) = 0;

  // These take a card or, where it makes sense, a MIG instance.
  virtual NvmlValue<std::string> name(NvmlDevice device) = 0;
  virtual NvmlValue<std::string> uuid(NvmlDevice device) = 0;
  virtual NvmlValue<std::string> pci_id(NvmlDevice device) = 0;  ///< "00000000:01:00.0"
  virtual NvmlValue<NvmlMemory> memory(NvmlDevice device) = 0;
  virtual NvmlValue<std::pair<int, int>> compute_capability(NvmlDevice device) = 0;
  virtual NvmlValue<bool> ecc(NvmlDevice device) = 0;  ///< as it is now, not as it will be after a reboot
  virtual NvmlValue<bool> display_active(NvmlDevice device) = 0;
  virtual NvmlValue<int> core_count(NvmlDevice device) = 0;
  virtual NvmlValue<int> max_sm_clock_mhz(NvmlDevice device) = 0;
  /// Compute and graphics processes, each pid once.
  virtual NvmlValue<std::vector<NvmlProcess>> processes(NvmlDevice device) = 0;

  virtual NvmlValue<bool> mig(NvmlDevice device) = 0;
  virtual NvmlValue<int> max_mig_count(NvmlDevice device) = 0;
  /// Slot `index` below max_mig_count; kNvmlNotFound: nothing in this slot.
  virtual NvmlValue<NvmlDevice> mig_device(NvmlDevice device, int index) = 0;
  virtual NvmlValue<int> gpu_instance_id(NvmlDevice mig_device) = 0;
  virtual NvmlValue<int> compute_instance_id(NvmlDevice mig_device) = 0;
};

/// The address of a function of the library by its name, or nullptr.
using NvmlLookup = std::function<void*(const char* symbol)>;

/// Nvml on top of a loaded library. `lookup` must stay valid as long as the result lives.
std::unique_ptr<Nvml> make_nvml(NvmlLookup lookup, std::string path);

}  // namespace vramwise

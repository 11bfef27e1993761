// The JSON of `vramwise detect`. Every key is always there; what is not known is null, so that scripts need no second
// lookup. Bytes are whole numbers.
#include "base/json.h"
#include "device/machine.h"

namespace vramwise {
namespace {

Json value_or_null(std::optional<Bytes> bytes) { return bytes ? Json(bytes->count()) : Json(nullptr); }

template <typename T>
Json value_or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

const char* source_key(TotalSource source) {
  switch (source) {
    case TotalSource::kUnknown:
      return "unknown";
    case TotalSource::kReserve:
      return "nvml_total_less_reserved";
    case TotalSource::kCatalogue:
      return "catalogue";
    case TotalSource::kHost:
      return "host_memory";
    case TotalSource::kSysfs:
      return "sysfs";
  }
  return "unknown";
}

const char* state_key(NvidiaState state) {
  switch (state) {
    case NvidiaState::kNone:
      return "none";
    case NvidiaState::kNoDriver:
      return "no_driver";
    case NvidiaState::kFailed:
      return "failed";
    case NvidiaState::kWorking:
      return "working";
  }
  return "none";
}

Json memory_json(const CardMemory& memory) {
  return Json{{"nvml_total_bytes", value_or_null(memory.nvml_total)},
              {"cuda_total_bytes", value_or_null(memory.cuda_total)},
              {"cuda_total_source", source_key(memory.cuda_total_source)},
              {"reserved_bytes", value_or_null(memory.reserved)},
              {"used_bytes", value_or_null(memory.used)},
              {"free_bytes", value_or_null(memory.free)},
              {"used_by_others_bytes", value_or_null(memory.used_by_others)},
              {"available_bytes", value_or_null(memory.available())}};
}

Json mig_json(const MigInstance& instance) {
  return Json{{"index", instance.index},
              {"name", instance.name},
              {"uuid", text_or_null(instance.uuid)},
              {"gpu_instance", value_or_null(instance.gpu_instance)},
              {"compute_instance", value_or_null(instance.compute_instance)},
              {"cuda_index", value_or_null(instance.cuda_index)},
              {"memory", memory_json(instance.memory)}};
}

Json processes_json(const std::optional<std::vector<GpuProcess>>& processes) {
  if (!processes) return nullptr;
  Json list = Json::array();
  for (const GpuProcess& process : *processes) {
    list.push_back(
        {{"pid", process.pid}, {"name", text_or_null(process.name)}, {"used_bytes", value_or_null(process.used)}});
  }
  return list;
}

Json gpu_json(const Gpu& gpu) {
  Json instances = Json::array();
  for (const MigInstance& instance : gpu.mig_instances) instances.push_back(mig_json(instance));
  return Json{{"vendor", vendor_key(gpu.vendor)},
              {"index", gpu.index},
              {"cuda_index", value_or_null(gpu.cuda_index)},
              {"hidden", value_or_null(gpu.hidden)},
              {"name", gpu.name},
              {"uuid", text_or_null(gpu.uuid)},
              {"pci_id", text_or_null(gpu.pci_id)},
              {"memory", memory_json(gpu.memory)},
              {"unified_memory", gpu.unified_memory},
              {"integrated", gpu.integrated},
              {"compute_capability", gpu.capability ? Json(to_string(*gpu.capability)) : Json(nullptr)},
              {"architecture", text_or_null(gpu.architecture)},
              {"ecc", value_or_null(gpu.ecc)},
              {"mig", value_or_null(gpu.mig)},
              {"mig_instances", std::move(instances)},
              {"display", value_or_null(gpu.display)},
              {"processes", processes_json(gpu.processes)},
              {"failure", value_or_null(gpu.failure)},
              {"verified", gpu.verified}};
}

Json device_json(const CudaDevice& device) {
  return Json{{"cuda_index", device.cuda_index},
              {"gpu", device.gpu},
              {"mig_instance", value_or_null(device.mig)},
              {"name", device.name},
              {"compute_capability", device.capability ? Json(to_string(*device.capability)) : Json(nullptr)},
              {"unified_memory", device.unified_memory},
              {"memory", memory_json(device.memory)}};
}

Json host_json(const HostMemory& host) {
  Json limits = Json::array();
  for (const CgroupLimit& limit : host.limits) {
    limits.push_back({{"path", limit.path},
                      {"file", limit.file},
                      {"limit_bytes", limit.limit.count()},
                      {"usage_bytes", value_or_null(limit.usage)},
                      {"reclaimable_bytes", value_or_null(limit.reclaimable)}});
  }
  return Json{{"cpu_name", value_or_null(host.cpu_name)},
              {"total_bytes", value_or_null(host.total)},
              {"available_bytes", value_or_null(host.available)},
              {"limit_bytes", value_or_null(host.limit())},
              {"limits", std::move(limits)},
              {"budget_bytes", value_or_null(host.budget())},
              {"swap_total_bytes", value_or_null(host.swap_total)},
              {"swap_free_bytes", value_or_null(host.swap_free)},
              {"shm_total_bytes", value_or_null(host.shm_total)},
              {"shm_free_bytes", value_or_null(host.shm_free)}};
}

Json driver_json(const DriverInfo& driver) {
  return Json{{"nvidia", state_key(driver.nvidia)},
              {"nvidia_version", value_or_null(driver.nvidia_version)},
              {"nvidia_kernel_version", value_or_null(driver.nvidia_kernel_version)},
              {"cuda_version", value_or_null(driver.cuda_version)},
              {"nvml_error", value_or_null(driver.nvml_error)},
              {"nvml_message", text_or_null(driver.nvml_message)}};
}

Json visibility_json(const Visibility& visibility) {
  return Json{{"cuda_visible_devices", value_or_null(visibility.cuda_visible_devices)},
              {"nvidia_visible_devices", value_or_null(visibility.nvidia_visible_devices)},
              {"pci_bus_order", visibility.pci_bus_order},
              {"order_certain", visibility.order_certain},
              {"notes", visibility.notes}};
}

}  // namespace

Json to_json(const Machine& machine) {
  Json gpus = Json::array();
  for (const Gpu& gpu : machine.gpus) gpus.push_back(gpu_json(gpu));
  Json devices = Json::array();
  for (const CudaDevice& device : machine.cuda_devices()) devices.push_back(device_json(device));
  return Json{{"schema", "vramwise.detect"},
              {"schema_version", 1},
              {"gpus", std::move(gpus)},
              {"cuda_devices", std::move(devices)},
              {"host", host_json(machine.host)},
              {"driver", driver_json(machine.driver)},
              {"visibility", visibility_json(machine.visibility)},
              {"container", machine.container},
              {"wsl", machine.wsl},
              {"warnings", machine.warnings}};
}

}  // namespace vramwise

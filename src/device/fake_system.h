// A machine in memory, for tests: files, links, environment, disks and a driver, each as a test sets it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "device/system.h"

namespace vramwise {

/// What a card or MIG instance answers. An absent value is refused with kNvmlNotSupported.
struct FakeDevice {
  std::optional<std::string> name = "NVIDIA GeForce RTX 4090";
  std::optional<std::string> uuid = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6";
  std::optional<std::string> pci_id = "00000000:01:00.0";
  std::optional<NvmlMemory> memory;
  std::optional<std::pair<int, int>> capability = std::pair(8, 9);
  std::optional<bool> ecc;
  std::optional<bool> display;
  std::optional<int> cores;
  std::optional<int> clock_mhz;
  std::optional<std::vector<NvmlProcess>> processes = std::vector<NvmlProcess>{};
  std::optional<bool> mig;
  std::vector<std::optional<FakeDevice>> mig_slots;  ///< nullopt: an empty slot
  std::optional<int> gpu_instance;
  std::optional<int> compute_instance;
  int handle_code = kNvmlSuccess;  ///< answer to the question for its handle
};

struct FakeDriver {
  int start_code = kNvmlSuccess;
  std::optional<std::string> version = "580.95.05";
  std::optional<int> cuda_version = 13000;
  int count_code = kNvmlSuccess;
  std::vector<FakeDevice> devices;
};

/// Answers from a FakeDriver that outlives it.
class FakeNvml : public Nvml {
 public:
  explicit FakeNvml(FakeDriver& driver) : driver_(driver) {}

  std::string path() const override { return "libnvidia-ml.so.1"; }
  int start() override { return driver_.start_code; }
  NvmlValue<std::string> driver_version() override { return answer(driver_.version); }
  NvmlValue<int> cuda_version() override { return answer(driver_.cuda_version); }
  NvmlValue<int> device_count() override {
    if (driver_.count_code != kNvmlSuccess) return NvmlValue<int>::refused(driver_.count_code);
    return static_cast<int>(driver_.devices.size());
  }
  NvmlValue<NvmlDevice> device(int index) override {
    FakeDevice& device = driver_.devices.at(static_cast<std::size_t>(index));
    if (device.handle_code != kNvmlSuccess) return NvmlValue<NvmlDevice>::refused(device.handle_code);
    return static_cast<NvmlDevice>(&device);
  }
  NvmlValue<std::string> name(NvmlDevice device) override { return answer(of(device).name); }
  NvmlValue<std::string> uuid(NvmlDevice device) override { return answer(of(device).uuid); }
  NvmlValue<std::string> pci_id(NvmlDevice device) override { return answer(of(device).pci_id); }
  NvmlValue<NvmlMemory> memory(NvmlDevice device) override { return answer(of(device).memory); }
  NvmlValue<std::pair<int, int>> compute_capability(NvmlDevice device) override {
    return answer(of(device).capability);
  }
  NvmlValue<bool> ecc(NvmlDevice device) override { return answer(of(device).ecc); }
  NvmlValue<bool> display_active(NvmlDevice device) override { return answer(of(device).display); }
  NvmlValue<int> core_count(NvmlDevice device) override { return answer(of(device).cores); }
  NvmlValue<int> max_sm_clock_mhz(NvmlDevice device) override { return answer(of(device).clock_mhz); }
  NvmlValue<std::vector<NvmlProcess>> processes(NvmlDevice device) override { return answer(of(device).processes); }
  NvmlValue<bool> mig(NvmlDevice device) override { return answer(of(device).mig); }
  NvmlValue<int> max_mig_count(NvmlDevice device) override { return static_cast<int>(of(device).mig_slots.size()); }
  NvmlValue<NvmlDevice> mig_device(NvmlDevice device, int index) override {
    auto& slot = of(device).mig_slots.at(static_cast<std::size_t>(index));
    if (!slot) return NvmlValue<NvmlDevice>::refused(kNvmlNotFound);
    return static_cast<NvmlDevice>(&*slot);
  }
  NvmlValue<int> gpu_instance_id(NvmlDevice device) override { return answer(of(device).gpu_instance); }
  NvmlValue<int> compute_instance_id(NvmlDevice device) override { return answer(of(device).compute_instance); }

 private:
  static FakeDevice& of(NvmlDevice device) { return *static_cast<FakeDevice*>(device); }

  template <typename T>
  static NvmlValue<T> answer(const std::optional<T>& value) {
    return value ? NvmlValue<T>(*value) : NvmlValue<T>::refused(kNvmlNotSupported);
  }

  FakeDriver& driver_;
};

class FakeSystem : public System {
 public:
  std::map<std::string, std::string> files;
  std::map<std::string, std::string> links;  ///< a link to a folder: its files are given under the link's own path
  std::map<std::string, std::string> variables;
  std::map<std::string, DiskSpace> disks;
  std::optional<FakeDriver> driver;  ///< nullopt: there is no NVML library

  /// A host with this much memory, so that a machine is one.
  void set_host(Bytes total, Bytes available) {
    files["/proc/meminfo"] = "MemTotal:       " + std::to_string(total.count() / 1024) +
                             " kB\nMemAvailable:   " + std::to_string(available.count() / 1024) + " kB\n";
  }

  /// A device on the PCI bus.
  void add_pci(const std::string& id, const std::string& vendor, const std::string& device, const std::string& driver,
               const std::string& class_code = "0x030000") {
    const std::string folder = "/sys/bus/pci/devices/" + id;
    files[folder + "/vendor"] = vendor + "\n";
    files[folder + "/device"] = device + "\n";
    files[folder + "/class"] = class_code + "\n";
    if (!driver.empty()) links[folder + "/driver"] = "../../../bus/pci/drivers/" + driver;
  }

  std::optional<std::string> read_file(const std::string& path) override { return find(files, path); }
  std::vector<std::string> list_folder(const std::string& path) override {
    const std::string prefix = path.back() == '/' ? path : path + "/";
    std::set<std::string> names;
    const auto add = [&](const std::string& entry) {
      if (entry.starts_with(prefix))
        names.insert(entry.substr(prefix.size(), entry.find('/', prefix.size()) - prefix.size()));
    };
    for (const auto& [entry, content] : files) add(entry);
    for (const auto& [entry, target] : links) add(entry);
    return {names.begin(), names.end()};
  }
  std::optional<std::string> read_link(const std::string& path) override { return find(links, path); }
  bool exists(const std::string& path) override {
    return files.contains(path) || links.contains(path) || disks.contains(path) || !list_folder(path).empty();
  }
  std::optional<std::string> environment(const std::string& name) override { return find(variables, name); }
  std::optional<DiskSpace> disk_space(const std::string& path) override { return find(disks, path); }
  std::string current_folder() override { return "/home/someone/project"; }
  std::int64_t process_id() override { return 4242; }
  Result<std::unique_ptr<Nvml>> open_nvml() override {
    if (!driver) return world_error("NVIDIA's management library was not found: libnvidia-ml.so.1: cannot open", "");
    return std::unique_ptr<Nvml>(std::make_unique<FakeNvml>(*driver));
  }

 private:
  template <typename T>
  static std::optional<T> find(const std::map<std::string, T>& map, const std::string& key) {
    const auto found = map.find(key);
    return found == map.end() ? std::nullopt : std::optional<T>(found->second);
  }
};

}  // namespace vramwise

// The bundle of `vramwise doctor --bundle`: everything that a maintainer would ask for, and nothing that tells whose
// machine it is. Variables and files are taken from fixed lists, never by listing what there is; what is taken then
// passes the Redactor, which knows this machine's names.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <ranges>

#include "base/json.h"
#include "base/text.h"
#include "device/doctor.h"

namespace vramwise {
namespace {

constexpr std::array kVariables = {
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_REQUIRE_CUDA",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ALLOC_CONF",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUBLASLT_WORKSPACE_SIZE",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT",
    "NCCL_DEBUG",
    "NCCL_P2P_DISABLE",
    "NCCL_IB_DISABLE",
    "NCCL_BUFFSIZE",
    "NCCL_MAX_NCHANNELS",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "ONEAPI_DEVICE_SELECTOR",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "WORLD_SIZE",
    "RANK",
    "LOCAL_RANK",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LANG",
    "MALLOC_CONF",
    "GLIBC_TUNABLES",
};

constexpr std::array kFiles = {
    "/proc/meminfo",
    "/proc/version",
    "/proc/driver/nvidia/version",
    "/proc/self/cgroup",
    "/etc/os-release",
    "/etc/nv_tegra_release",
    "/proc/swaps",
    "/proc/sys/vm/overcommit_memory",
    "/sys/module/amdgpu/version",
};
constexpr std::size_t kLongestExcerpt = 4000;

bool is_hex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  if (from.empty()) return;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

class Redactor {
 public:
  Redactor(const Machine& machine, System& system) {
    for (const Gpu& gpu : machine.gpus) {
      name_uuid(gpu.uuid);
      for (const MigInstance& instance : gpu.mig_instances) name_uuid(instance.uuid);
    }
    for (const char* path : {"/proc/sys/kernel/hostname", "/etc/hostname"}) {
      // A short name could be part of any word, and tells little.
      if (const auto host = read_line(system, path); host && host->size() >= 4) plain_[*host] = "<host>";
    }
    if (const auto home = system.environment("HOME"); home && home->size() >= 3) plain_[*home] = "~";
    for (const char* variable : {"USER", "LOGNAME"}) {
      if (const auto user = system.environment(variable); user && user->size() >= 4 && *user != "root")
        plain_[*user] = "<user>";
    }
  }

  std::string text(std::string value) {
    value = without_uuids(value);
    // Longer names first: a home folder before the user's name in it.
    for (const auto& [name, stand_in] : plain_ | std::views::reverse) replace_all(value, name, stand_in);
    return without_ids(value);
  }

  void json(Json& value) {
    if (value.is_string()) {
      value = text(value.get<std::string>());
    } else if (value.is_structured()) {
      for (auto& item : value) json(item);
    }
  }

 private:
  struct ByLength {
    bool operator()(const std::string& a, const std::string& b) const {
      return a.size() != b.size() ? a.size() < b.size() : a < b;
    }
  };

  std::string name_uuid(const std::string& uuid) {
    for (const auto& [known, name] : uuids_) {
      if (known == uuid) return name;
      // CUDA_VISIBLE_DEVICES may hold the beginning only.
      if (known.starts_with(uuid)) return name + "...";
    }
    if (uuid.empty()) return {};
    uuids_.emplace_back(uuid, fmt::format("{}#{}", uuid.substr(0, 4), uuids_.size() + 1));
    return uuids_.back().second;
  }

  // "GPU-" or "MIG-" and what follows of hexadecimal digits and dashes ("MIG-GPU-…" has both).
  std::string without_uuids(const std::string& value) {
    std::string result;
    std::size_t at = 0;
    while (at < value.size()) {
      const std::string prefix = value.substr(at, 4);
      if (prefix != "GPU-" && prefix != "MIG-") {
        result += value[at++];
        continue;
      }
      std::size_t end = at + 4;
      if (value.compare(end, 4, "GPU-") == 0) end += 4;
      const std::size_t digits = end;
      while (end < value.size() && (is_hex(value[end]) || value[end] == '-')) ++end;
      result += end - digits >= 4 ? name_uuid(value.substr(at, end - at)) : value.substr(at, end - at);
      at = end;
    }
    return result;
  }

  // Container ids, keys, tokens: 32 and more letters and digits without a break.
  static std::string without_ids(const std::string& value) {
    std::string result;
    std::size_t at = 0;
    while (at < value.size()) {
      std::size_t end = at;
      while (end < value.size() && std::isalnum(static_cast<unsigned char>(value[end])) != 0) ++end;
      if (end - at >= 32) {
        result += "<id>";
      } else {
        result += value.substr(at, std::max<std::size_t>(end - at, 1));
      }
      at = std::max(end, at + 1);
    }
    return result;
  }

  std::vector<std::pair<std::string, std::string>> uuids_;
  std::map<std::string, std::string, ByLength> plain_;
};

Json variables_json(System& system, Redactor& redactor) {
  Json variables = Json::object();
  for (const char* name : kVariables) {
    if (const auto value = system.environment(name)) variables[name] = redactor.text(*value);
  }
  return variables;
}

Json files_json(System& system, Redactor& redactor) {
  Json files = Json::object();
  for (const char* path : kFiles) {
    if (const auto content = system.read_file(path)) files[path] = redactor.text(content->substr(0, kLongestExcerpt));
  }
  return files;
}

Json detect_json(const Machine& machine, Redactor& redactor) {
  Json json = to_json(machine);
  for (Json& gpu : json["gpus"]) {
    for (Json& process : gpu["processes"]) {
      process.erase("pid");
      process.erase("name");
    }
  }
  redactor.json(json);
  return json;
}

Json pci_json(const Machine& machine) {
  Json cards = Json::array();
  for (const PciCard& card : machine.pci_cards) {
    cards.push_back({{"pci_id", card.pci_id},
                     {"id", fmt::format("{:04x}:{:04x}", card.vendor, card.device)},
                     {"class", fmt::format("{:06x}", card.class_code)},
                     {"driver", card.driver}});
  }
  return cards;
}

}  // namespace

std::string make_bundle(const Machine& machine, System& system, const DoctorContext& context) {
  Redactor redactor(machine, system);
  Json findings = to_json(diagnose(machine, system, context));
  redactor.json(findings);
  const auto torch = context.torch_folder ? torch_version(system, *context.torch_folder) : std::nullopt;
  const Json bundle{{"vramwise_version", context.vramwise_version},
                    {"torch_version", torch ? Json(*torch) : Json(nullptr)},
                    {"glibc_version", context.glibc_version ? Json(*context.glibc_version) : Json(nullptr)},
                    {"detect", detect_json(machine, redactor)},
                    {"findings", std::move(findings)},
                    {"pci", pci_json(machine)},
                    {"environment", variables_json(system, redactor)},
                    {"files", files_json(system, redactor)}};
  // Invalid UTF-8 (a device tree, an odd variable) is replaced, not thrown on.
  return bundle.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace vramwise

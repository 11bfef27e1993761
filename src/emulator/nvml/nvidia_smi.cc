// nvidia-smi of a dry run, for programs that ask it instead of NVML: -L, --query-gpu=…
// --format=csv[,noheader][,nounits], both with -i. Fields that are not known read "[N/A]", as on cards that have no
// such sensor.
#include <dlfcn.h>

#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace {

struct Memory {  // nvmlMemory_v2_t, which counts what the driver keeps for itself apart, as nvidia-smi does
  unsigned version = (2U << 24) | 40U;
  unsigned long long total = 0, reserved = 0, free = 0, used = 0;
};

void* nvml_library() {
  static void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  return library;
}

template <typename... Arguments>
bool ask(const char* name, Arguments... arguments) {
  auto* const function = reinterpret_cast<int (*)(Arguments...)>(dlsym(nvml_library(), name));
  return function != nullptr && function(arguments...) == 0;
}

struct Gpu {
  unsigned index = 0;
  void* handle = nullptr;

  std::string text(const char* name) const {
    char text[96] = {};
    return ask(name, handle, text, 96U) ? text : "[N/A]";
  }
  std::string mib(unsigned long long Memory::* part, bool with_units) const {
    Memory memory;
    if (!ask("nvmlDeviceGetMemoryInfo_v2", handle, &memory)) return "[N/A]";
    return std::to_string(memory.*part >> 20) + (with_units ? " MiB" : "");
  }
  std::string capability() const {
    int major = 0, minor = 0;
    if (!ask("nvmlDeviceGetCudaComputeCapability", handle, &major, &minor)) return "[N/A]";
    return std::to_string(major) + "." + std::to_string(minor);
  }
};

std::string driver_version() {
  char text[96] = {};
  return ask("nvmlSystemGetDriverVersion", text, 96U) ? text : "[N/A]";
}

std::vector<Gpu> gpus() {
  std::vector<Gpu> found;
  unsigned count = 0;
  if (!ask("nvmlInit_v2") || !ask("nvmlDeviceGetCount_v2", &count)) return found;
  for (unsigned index = 0; index < count; ++index) {
    Gpu gpu{.index = index};
    if (ask("nvmlDeviceGetHandleByIndex_v2", index, &gpu.handle)) found.push_back(gpu);
  }
  return found;
}

std::string value_of(const std::string& field, const Gpu& gpu, std::size_t count, bool with_units) {
  const std::map<std::string, std::function<std::string()>> values = {
      {"index", [&] { return std::to_string(gpu.index); }},
      {"count", [&] { return std::to_string(count); }},
      {"name", [&] { return gpu.text("nvmlDeviceGetName"); }},
      {"gpu_name", [&] { return gpu.text("nvmlDeviceGetName"); }},
      {"uuid", [&] { return gpu.text("nvmlDeviceGetUUID"); }},
      {"gpu_uuid", [&] { return gpu.text("nvmlDeviceGetUUID"); }},
      {"compute_cap", [&] { return gpu.capability(); }},
      {"driver_version", [] { return driver_version(); }},
      {"memory.total", [&] { return gpu.mib(&Memory::total, with_units); }},
      {"memory.free", [&] { return gpu.mib(&Memory::free, with_units); }},
      {"memory.used", [&] { return gpu.mib(&Memory::used, with_units); }},
      {"utilization.gpu", [&] { return std::string(with_units ? "0 %" : "0"); }},
      {"utilization.memory", [&] { return std::string(with_units ? "0 %" : "0"); }},
  };
  const auto found = values.find(field);
  return found == values.end() ? "[N/A]" : found->second();
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else if (c != ' ') {
      parts.back() += c;
    }
  }
  return parts;
}

struct Question {
  bool list = false;
  std::vector<std::string> fields;
  bool with_header = true;
  bool with_units = true;
  std::optional<std::vector<std::string>> wanted;  ///< indices or UUIDs
};

/// "--name=value" or "--name value".
std::optional<std::string> value_after(const std::string& name, const std::vector<std::string>& words, std::size_t& i) {
  if (words[i].starts_with(name + "=")) return words[i].substr(name.size() + 1);
  if (words[i] == name && i + 1 < words.size()) return words[++i];
  return std::nullopt;
}

/// What is asked; nothing for what this stand-in has no answer to.
std::optional<Question> parse(const std::vector<std::string>& words) {
  Question question;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "-L" || words[i] == "--list-gpus") {
      question.list = true;
    } else if (const auto fields = value_after("--query-gpu", words, i)) {
      question.fields = split(*fields);
    } else if (const auto format = value_after("--format", words, i)) {
      for (const std::string& part : split(*format)) {
        if (part == "noheader") question.with_header = false;
        if (part == "nounits") question.with_units = false;
      }
    } else if (const auto ids = value_after(words[i].starts_with("--id") ? "--id" : "-i", words, i)) {
      question.wanted = split(*ids);
    } else {
      return std::nullopt;
    }
  }
  return question.list || !question.fields.empty() ? std::optional(question) : std::nullopt;
}

bool is_wanted(const Question& question, const Gpu& gpu) {
  if (!question.wanted) return true;
  for (const std::string& id : *question.wanted) {
    if (id == std::to_string(gpu.index) || id == gpu.text("nvmlDeviceGetUUID")) return true;
  }
  return false;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

void print_query(const Question& question, const std::vector<Gpu>& all) {
  std::vector<std::string> row;
  for (const std::string& field : question.fields)
    row.push_back(field + (question.with_units && field.starts_with("memory.")        ? " [MiB]"
                           : question.with_units && field.starts_with("utilization.") ? " [%]"
                                                                                      : ""));
  if (question.with_header) std::printf("%s\n", joined(row).c_str());
  for (const Gpu& gpu : all) {
    if (!is_wanted(question, gpu)) continue;
    row.clear();
    for (const std::string& field : question.fields)
      row.push_back(value_of(field, gpu, all.size(), question.with_units));
    std::printf("%s\n", joined(row).c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto question = parse({argv + 1, argv + argc});
  if (!question) {
    std::fprintf(stderr, "vramwise: in a dry run nvidia-smi answers -L and --query-gpu only\n");
    return 2;
  }
  const std::vector<Gpu> all = gpus();
  if (all.empty()) {
    std::printf("No devices were found\n");
    return 6;
  }
  if (!question->list) {
    print_query(*question, all);
    return 0;
  }
  for (const Gpu& gpu : all) {
    if (is_wanted(*question, gpu))
      std::printf("GPU %u: %s (UUID: %s)\n", gpu.index, gpu.text("nvmlDeviceGetName").c_str(),
                  gpu.text("nvmlDeviceGetUUID").c_str());
  }
  return 0;
}

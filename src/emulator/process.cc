// Nothing happens when the library is loaded: it is preloaded into every child of a dry run (shells, compilers, data
// workers), and only a process that calls CUDA gets a machine.
#include "emulator/process.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "base/json.h"
#include "base/units.h"
#include "emulator/state/ledger_json.h"

namespace vramwise::emulator {
namespace {

struct Process {
  std::unique_ptr<Machine> machine;
  std::string ledger_folder;  ///< empty: none. Kept, as programs change their environment.
  bool tried = false;
  bool forked = false;  ///< a child of a process that had a machine: CUDA does not survive a fork
};

Process& process() {
  static auto* instance = new Process;  // never destroyed: libraries call us from their own destructors
  return *instance;
}

Result<std::string> description() {
  const char* value = std::getenv("VRAMWISE_GPUS");
  if (value == nullptr || *value == '\0') {
    return usage_error("VRAMWISE_GPUS is not set: there is no description of the emulated GPUs",
                       "start the program by vramwise dryrun");
  }
  if (*value != '@') return std::string(value);
  std::ifstream file(value + 1);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return world_error(std::string("cannot read '") + (value + 1) + "'");
  return text.str();
}

/// VRAMWISE_FILL, if it is a byte.
std::optional<std::uint8_t> fill_of_environment() {
  const char* value = std::getenv("VRAMWISE_FILL");
  const auto byte = value == nullptr ? std::nullopt : parse_integer(value);
  if (!byte || *byte < 0 || *byte > 255) return std::nullopt;
  return static_cast<std::uint8_t>(*byte);
}

/// Plain memory, as it is read where nothing else may be touched (process_end.cc).
std::atomic<pid_t> with_machine{0};

bool is_loaded(const char* library) {
  void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (handle != nullptr) dlclose(handle);
  return handle != nullptr;
}

/// An empty file from the first call on: who finds it without a ledger knows that this process ended without a word,
/// and its age tells which processes were there at the same time. In the same folder they see what each other holds.
void leave_a_sign() {
  const char* folder = std::getenv("VRAMWISE_LEDGER_DIR");
  if (folder == nullptr || *folder == '\0') return;
  process().ledger_folder = folder;
  const std::ofstream sign(process().ledger_folder + "/alive." + std::to_string(getpid()));
  process().machine->share(SharedCards::open(process().ledger_folder + "/cards"));
}

void start() {
  Process& self = process();
  self.tried = true;
  auto text = description();
  auto spec = text.ok() ? parse_machine(*text) : Result<MachineSpec>(text.error());
  if (!spec.ok()) {
    std::fprintf(stderr, "vramwise: %s\n", spec.error().what.c_str());
    return;
  }
  if (const auto fill = fill_of_environment()) spec.value().fill = *fill;
  self.machine = std::make_unique<Machine>(std::move(spec).value(), std::getenv("CUDA_VISIBLE_DEVICES"));
  with_machine = getpid();
  leave_a_sign();
  pthread_atfork(nullptr, nullptr, [] { process().forked = true; });
  std::atexit(write_ledger);
}

}  // namespace

std::recursive_mutex& state_mutex() {
  static auto* mutex = new std::recursive_mutex;
  return *mutex;
}

Machine* machine_or_null() {
  Process& self = process();
  if (!self.tried) start();
  return self.forked ? nullptr : self.machine.get();
}

Modules& modules() {
  static auto* instance = new Modules;
  return *instance;
}

ThreadState& thread_state() {
  static thread_local ThreadState state;
  return state;
}

int refuse(const char* name, int code) {
  const std::lock_guard lock(state_mutex());
  Machine* machine = machine_or_null();
  if (machine == nullptr) return code;
  ++machine->recorder().unmodelled[name];
  if (machine->spec().strict) {
    std::fprintf(stderr, "vramwise: %s is not modelled, and the run is strict\n", name);
    write_ledger();
    std::abort();  // Python's faulthandler then shows the line that called it
  }
  return code;
}

int computed(const char* name) {
  const std::lock_guard lock(state_mutex());
  if (Machine* machine = machine_or_null()) {
    ++machine->recorder().computed[name];
    machine->work(thread_state().stream_of_library, thread_state().device, Costs::kKernelNs);
  }
  return 0;
}

void assume(const char* what) {
  const std::lock_guard lock(state_mutex());
  if (Machine* machine = machine_or_null()) ++machine->recorder().assumed[what];
}

void* own_symbol(const std::string& name) {
  static void* self = [] {
    Dl_info info{};
    if (dladdr(reinterpret_cast<void*>(&own_symbol), &info) == 0) return static_cast<void*>(nullptr);
    return dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  }();
  if (self == nullptr) return nullptr;
  void* symbol = dlsym(self, name.c_str());
  Dl_info found{};
  Dl_info own{};
  // dlsym also searches what this library depends on.
  if (symbol == nullptr || dladdr(symbol, &found) == 0 || dladdr(reinterpret_cast<void*>(&own_symbol), &own) == 0)
    return nullptr;
  return found.dli_fbase == own.dli_fbase ? symbol : nullptr;
}

void* real_symbol(const char* const* library_names, const char* name) {
  for (; *library_names != nullptr; ++library_names) {
    void* library = dlopen(*library_names, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) continue;
    void* symbol = dlsym(library, name);
    dlclose(library);
    if (symbol != nullptr) return symbol;
  }
  return nullptr;
}

pid_t process_with_machine() { return with_machine; }

void write_ledger() {
  const std::lock_guard lock(state_mutex());
  const Machine* machine = machine_or_null();
  const std::string& folder = process().ledger_folder;
  if (folder.empty() || machine == nullptr) return;
  const int id = getpid();
  Json ledger = ledger_json(*machine, id);
  ledger["python_torch"] = is_loaded("libtorch_python.so");
  const std::string path = folder + "/ledger." + std::to_string(id) + ".json";
  if (const auto status = write_atomically(path, ledger.dump(1) + "\n"); !status.ok()) {
    std::fprintf(stderr, "vramwise: %s\n", status.error().what.c_str());
  }
}

}  // namespace vramwise::emulator

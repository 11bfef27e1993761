// The device code that the program carries: which kernels there are, and for which compute capabilities they were
// compiled.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace vramwise::emulator {

/// One compiled form inside a fat binary.
struct CodeVariant {
  int capability = 0;  ///< 86 for 8.6
  bool is_ptx = false;
};

/// What the driver would pick out of a fat binary for a card.
struct ChosenCode {
  bool found = false;
  int binary_capability = 0;  ///< of the machine code that runs; for PTX, the card's
  int ptx_capability = 0;     ///< of the virtual architecture it came from
};

/// Lists the variants in a fat binary; empty if `data` is not one.
std::vector<CodeVariant> read_fat_binary(const void* data);

/// Machine code of the same major capability, not newer than the card, the newest first; otherwise the newest PTX that
/// is not newer than the card (CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility").
ChosenCode choose_code(const std::vector<CodeVariant>& variants, int capability);

struct Module {
  const void* data = nullptr;  ///< the fat binary; read when first asked for
  bool read = false;
  std::vector<CodeVariant> variants;
};

struct Kernel {
  const void* host_function = nullptr;
  const char* name = nullptr;  ///< mangled; lives as long as the program's image
  Module* module = nullptr;
  int max_dynamic_shared_bytes = 48 * 1024;
};

/// Everything that __cudaRegister… told us. Registering is cheap (a libtorch has tens of thousands of kernels); the
/// index is built by the first look-up.
class Modules {
 public:
  Module* add_module(const void* fat_binary);
  void add_kernel(Module* module, const void* host_function, const char* name);
  void add_variable(const void* host_variable, std::size_t size) { variables_[host_variable] = {size, {}}; }

  Kernel* find(const void* host_function);
  /// Storage for a __device__ variable, per device; null: not registered.
  struct Variable {
    std::size_t size = 0;
    std::unordered_map<int, void*> addresses;
  };
  Variable* find_variable(const void* host_variable);
  /// For which code a card would run `kernel`.
  ChosenCode code_for(Kernel& kernel, int capability);

 private:
  std::vector<std::unique_ptr<Module>> modules_;
  std::vector<Kernel> kernels_;
  std::size_t indexed_ = 0;
  std::unordered_map<const void*, std::size_t> index_;
  std::unordered_map<const void*, Variable> variables_;
};

}  // namespace vramwise::emulator

// The layout of NVIDIA's fat binaries is not documented; the few fields used here are those that public tools
// (cuobjdump's output, the headers of open-source CUDA re-implementations) agree on: a 16-byte header, then entries
// with a header of their own.
#include "emulator/state/modules.h"

#include <cstring>

namespace vramwise::emulator {
namespace {

constexpr std::uint32_t kFatBinaryMagic = 0xBA55ED50;
constexpr std::uint16_t kKindPtx = 1;
constexpr std::uint16_t kKindMachineCode = 2;

struct FatHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t header_bytes;
  std::uint64_t payload_bytes;
};

struct EntryHeader {
  std::uint16_t kind;
  std::uint16_t version;
  std::uint32_t header_bytes;
  std::uint64_t payload_bytes;
  std::uint32_t unused[3];
  std::uint32_t capability;
};

template <typename T>
T read_at(const unsigned char* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

}  // namespace

std::vector<CodeVariant> read_fat_binary(const void* data) {
  std::vector<CodeVariant> variants;
  if (data == nullptr) return variants;
  const auto* bytes = static_cast<const unsigned char*>(data);
  // Other kinds of image (cubin, PTX text) may be shorter than this header.
  if (read_at<std::uint32_t>(bytes) != kFatBinaryMagic) return variants;
  const auto header = read_at<FatHeader>(bytes);
  const auto* position = bytes + header.header_bytes;
  const auto* end = position + header.payload_bytes;
  while (position + sizeof(EntryHeader) <= end) {
    const auto entry = read_at<EntryHeader>(position);
    if (entry.header_bytes < sizeof(EntryHeader)) break;
    if (entry.kind == kKindPtx || entry.kind == kKindMachineCode) {
      variants.push_back({.capability = static_cast<int>(entry.capability), .is_ptx = entry.kind == kKindPtx});
    }
    position += entry.header_bytes + entry.payload_bytes;
  }
  return variants;
}

ChosenCode choose_code(const std::vector<CodeVariant>& variants, int capability) {
  int machine_code = 0;
  int ptx = 0;
  for (const auto& variant : variants) {
    if (variant.capability > capability) continue;
    if (variant.is_ptx) {
      ptx = variant.capability > ptx ? variant.capability : ptx;
    } else if (variant.capability / 10 == capability / 10) {
      machine_code = variant.capability > machine_code ? variant.capability : machine_code;
    }
  }
  if (machine_code != 0) return {true, machine_code, machine_code};
  if (ptx != 0) return {true, capability, ptx};
  return {};
}

Module* Modules::add_module(const void* fat_binary) {
  modules_.push_back(std::make_unique<Module>(Module{.data = fat_binary, .read = false, .variants = {}}));
  return modules_.back().get();
}

void Modules::add_kernel(Module* module, const void* host_function, const char* name) {
  kernels_.push_back({.host_function = host_function, .name = name, .module = module});
}

Kernel* Modules::find(const void* host_function) {
  for (; indexed_ < kernels_.size(); ++indexed_) index_[kernels_[indexed_].host_function] = indexed_;
  const auto found = index_.find(host_function);
  return found == index_.end() ? nullptr : &kernels_[found->second];
}

Modules::Variable* Modules::find_variable(const void* host_variable) {
  const auto found = variables_.find(host_variable);
  return found == variables_.end() ? nullptr : &found->second;
}

ChosenCode Modules::code_for(Kernel& kernel, int capability) {
  Module& module = *kernel.module;
  if (!module.read) {
    module.variants = read_fat_binary(module.data);
    module.read = true;
  }
  return choose_code(module.variants, capability);
}

}  // namespace vramwise::emulator

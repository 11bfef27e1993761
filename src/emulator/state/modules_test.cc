#include "emulator/state/modules.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace vramwise::emulator {
namespace {

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// A fat binary with entries of the given kind (1 PTX, 2 machine code) and capability.
std::string fat_binary(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& entries) {
  constexpr std::uint32_t kHeaderBytes = 64;
  constexpr std::uint64_t kPayloadBytes = 24;
  std::string body;
  for (const auto& [kind, capability] : entries) {
    std::string entry;
    append<std::uint16_t>(entry, kind);
    append<std::uint16_t>(entry, 0x101);
    append<std::uint32_t>(entry, kHeaderBytes);
    append<std::uint64_t>(entry, kPayloadBytes);
    entry.resize(28);
    append<std::uint32_t>(entry, capability);
    entry.resize(kHeaderBytes + kPayloadBytes);
    body += entry;
  }
  std::string out;
  append<std::uint32_t>(out, 0xBA55ED50);
  append<std::uint16_t>(out, 1);
  append<std::uint16_t>(out, 16);
  append<std::uint64_t>(out, body.size());
  return out + body;
}

TEST(Modules, ReadsTheVariantsOfAFatBinary) {
  const auto data = fat_binary({{2, 75}, {2, 80}, {1, 80}});
  const auto variants = read_fat_binary(data.data());
  ASSERT_EQ(variants.size(), 3U);
  EXPECT_EQ(variants[0].capability, 75);
  EXPECT_FALSE(variants[0].is_ptx);
  EXPECT_TRUE(variants[2].is_ptx);
  const int nonsense = 42;
  EXPECT_TRUE(read_fat_binary(&nonsense).empty());
}

TEST(Modules, ChoosesAsADriverDoes) {
  const std::vector<CodeVariant> wheel = {{75, false}, {80, false},  {86, false},
                                          {90, false}, {120, false}, {120, true}};
  EXPECT_EQ(choose_code(wheel, 86).binary_capability, 86);
  EXPECT_EQ(choose_code(wheel, 89).binary_capability, 86) << "the newest of the same major";
  EXPECT_EQ(choose_code(wheel, 89).ptx_capability, 86);
  EXPECT_EQ(choose_code(wheel, 121).ptx_capability, 120);
  EXPECT_FALSE(choose_code(wheel, 61).found);
  EXPECT_FALSE(choose_code(wheel, 100).found) << "no machine code of 10.x, and the PTX is newer";
  const ChosenCode compiled = choose_code({{70, true}}, 86);
  EXPECT_TRUE(compiled.found);
  EXPECT_EQ(compiled.binary_capability, 86);
  EXPECT_EQ(compiled.ptx_capability, 70);
}

TEST(Modules, FindsKernelsRegisteredBeforeAndAfterALookUp) {
  const auto data = fat_binary({{2, 86}});
  Modules modules;
  Module* module = modules.add_module(data.data());
  const int a = 0;
  const int b = 0;
  modules.add_kernel(module, &a, "a");
  ASSERT_NE(modules.find(&a), nullptr);
  EXPECT_EQ(modules.find(&b), nullptr);
  modules.add_kernel(module, &b, "b");
  ASSERT_NE(modules.find(&b), nullptr);
  EXPECT_STREQ(modules.find(&b)->name, "b");
  EXPECT_TRUE(modules.code_for(*modules.find(&b), 89).found);
  EXPECT_FALSE(modules.code_for(*modules.find(&b), 75).found);
}

}  // namespace
}  // namespace vramwise::emulator

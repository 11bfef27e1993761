#include "gpus/cuda_facts.h"

#include <gtest/gtest.h>

#include <tuple>

namespace vramwise {
namespace {

TEST(CublasWorkspace, DefaultsByCapability) {
  EXPECT_EQ(cublas_workspace({8, 9}).bytes, Bytes(8519680));
  EXPECT_EQ(cublas_workspace({6, 1}).bytes, Bytes(8519680));
  EXPECT_EQ(cublas_workspace({9, 0}).bytes, Bytes::mib(32));
  EXPECT_EQ(cublas_workspace({10, 0}).bytes, Bytes::mib(32));
  EXPECT_EQ(cublas_workspace({12, 1}).bytes, Bytes::mib(32));
}

TEST(CublasWorkspace, ReadsTheEnvironmentAsTorchDoes) {
  EXPECT_EQ(cublas_workspace({8, 6}, ":4096:8").bytes, Bytes::mib(32));
  EXPECT_EQ(cublas_workspace({9, 0}, ":16:8").bytes, Bytes::kib(128));
  EXPECT_EQ(cublas_workspace({9, 0}, ":4096:2:16:8").bytes, Bytes::kib(8320));
  EXPECT_EQ(cublas_workspace({8, 6}, "x:1:2y").bytes, Bytes::kib(2));
  EXPECT_EQ(cublas_workspace({8, 6}, ":0:0").bytes, Bytes(0));
  for (const char* broken : {"", "4096", ":4096", "::8", ":a:b", ":99999999999999:99999999999999"}) {
    const CublasWorkspace workspace = cublas_workspace({9, 0}, broken);
    EXPECT_TRUE(workspace.config_ignored) << broken;
    EXPECT_EQ(workspace.bytes, Bytes::mib(32)) << broken;
  }
}

TEST(CudaContext, SaysWhereItWasMeasured) {
  EXPECT_TRUE(cuda_context({8, 9}, 13).measured);
  EXPECT_FALSE(cuda_context({8, 9}, 12).measured);
  EXPECT_FALSE(cuda_context({9, 0}, 13).measured);
  EXPECT_GT(cuda_context({9, 0}, 13).bytes, Bytes::mib(100));
}

TEST(CudaContext, GrowsWithTheCard) {
  EXPECT_EQ(cuda_context({8, 6}, 12, 82).bytes, Bytes::mib(256));
  EXPECT_TRUE(cuda_context({8, 6}, 12, 82).measured);
  EXPECT_FALSE(cuda_context({8, 6}, 13, 82).measured);
  for (const auto& [capability, units, mib] : {std::tuple{ComputeCapability{8, 9}, 143, 426},
                                               {ComputeCapability{8, 6}, 83, 256},
                                               {ComputeCapability{12, 0}, 189, 555},
                                               {ComputeCapability{8, 9}, 35, 107}}) {
    const CudaContext assumed = cuda_context(capability, 13, units);
    EXPECT_FALSE(assumed.measured);
    EXPECT_NEAR(assumed.bytes.in_mib(), mib, 12) << units;
  }
  // More threads, more stacks.
  EXPECT_GT(cuda_context({9, 0}, 13, 132).bytes, cuda_context({8, 9}, 13, 132).bytes);
  EXPECT_LT(cuda_context({7, 5}, 13, 40).bytes, cuda_context({8, 9}, 13, 40).bytes);
}

TEST(DriverVersion, ParsesAndCompares) {
  EXPECT_EQ(parse_driver_version("580.65.06"), (DriverVersion{580, 65, 6}));
  EXPECT_EQ(parse_driver_version(" 535.54\n"), (DriverVersion{535, 54, 0}));
  EXPECT_EQ(to_string(DriverVersion{580, 65, 6}), "580.65.06");
  EXPECT_LT(*parse_driver_version("580.9.99"), *parse_driver_version("580.65.06"));
  for (const char* broken : {"", "580", "a.b", "1.2.3.4", "580.-1.0"})
    EXPECT_FALSE(parse_driver_version(broken)) << broken;
}

TEST(TorchBuild, RunsOnMatchesBinaryCompatibility) {
  const TorchBuild& standard = default_torch_build();
  EXPECT_EQ(standard.tag, "cu130");
  for (const ComputeCapability yes : {ComputeCapability{7, 5}, {8, 0}, {8, 6}, {8, 9}, {9, 0}, {10, 3}, {12, 1}}) {
    EXPECT_TRUE(standard.runs_on(yes)) << to_string(yes);
  }
  for (const ComputeCapability no : {ComputeCapability{6, 1}, {7, 0}, {7, 2}, {11, 0}, {13, 0}}) {
    EXPECT_FALSE(standard.runs_on(no)) << to_string(no);
  }
}

TEST(TorchBuild, OlderCardsAndDriversGetTheirOwnBuild) {
  EXPECT_EQ(torch_build_for({8, 9})->tag, "cu130");
  EXPECT_EQ(torch_build_for({6, 1})->tag, "cu126");
  EXPECT_EQ(torch_build_for({7, 0})->tag, "cu126");
  EXPECT_EQ(torch_build_for({8, 6}, DriverVersion{550, 54, 14})->tag, "cu126");
  EXPECT_EQ(torch_build_for({8, 6}, DriverVersion{580, 65, 6})->tag, "cu130");
  EXPECT_EQ(torch_build_for({12, 0}, DriverVersion{570, 124, 6}), nullptr);
  EXPECT_EQ(torch_build_for({3, 5}), nullptr);
  EXPECT_EQ(torch_build_for({8, 6}, DriverVersion{470, 82, 1}), nullptr);
}

}  // namespace
}  // namespace vramwise

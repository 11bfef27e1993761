#include "gpus/nccl_memory.h"

#include <gtest/gtest.h>

#include <cstring>

namespace vramwise {
namespace {

constexpr NcclEnvironment kPlain;

TEST(NcclMemory, ConnectionsAreWhatALogOfAnH100Counts) {
  // NVIDIA/nccl issue 1685: pieces of 10,485,760 and 2,097,152 bytes, 32 channels to each peer.
  const NcclMemory memory = nccl_memory({23007, 90, 8, 8, 0, NcclLink::kNvSwitch}, kPlain);
  EXPECT_EQ(memory.point_to_point_channels, 32);
  EXPECT_EQ(memory.peer, Bytes(10'485'760 + 2'097'152) * 32);
  EXPECT_EQ(memory.ring, Bytes::mib(12) * 24);
  EXPECT_EQ(memory.tree, Bytes::mib(10) * 24);
  EXPECT_EQ(memory.nvls, Bytes::mib(256));
  EXPECT_EQ(memory.creation, Bytes::mib(2) * (3 * 32 + 2 + 1));
}

TEST(NcclMemory, ATreeOfMoreThanTwoTakesWhatWasMeasuredOnA100) {
  // NVIDIA/nccl issue 964: 544 MB for groups of two, 688 MB for larger ones.
  const NcclMemory two = nccl_memory({21400, 80, 2, 2, 0, NcclLink::kNvSwitch}, kPlain);
  const NcclMemory four = nccl_memory({21400, 80, 4, 4, 0, NcclLink::kNvSwitch}, kPlain);
  EXPECT_EQ(four.creation - two.creation, Bytes::mib(688 - 544));
  EXPECT_EQ(four.ring, Bytes(0)) << "connected when created, before 2.22";
}

TEST(NcclMemory, WithoutPeerAccessBuffersAreOnTheHost) {
  const NcclMemory memory = nccl_memory({23007, 86, 2, 2, 0, NcclLink::kHost}, kPlain);
  EXPECT_EQ(memory.channels, 2);
  EXPECT_EQ(memory.ring, Bytes(0));
  EXPECT_EQ(memory.creation, Bytes::mib(16));
}

TEST(NcclMemory, OlderVersionsTakeMoreForNvls) {
  const auto nvls = [](int version) {
    NcclEnvironment with;
    NcclEnvironment without;
    without.nvls = false;
    const NcclCommunicator communicator = {version, 90, 8, 8, 3, NcclLink::kNvSwitch};
    const NcclMemory a = nccl_memory(communicator, with);
    const NcclMemory b = nccl_memory(communicator, without);
    return a.creation + a.nvls - b.creation - b.nvls;
  };
  EXPECT_EQ(nvls(22005), Bytes::mib(4) * 2 * 24 * 8 + Bytes::mib(2));
  EXPECT_EQ(nvls(22105), Bytes::mib(1) * 2 * 24 * 8 + Bytes::mib(2));
  EXPECT_EQ(nvls(22705), Bytes::mib(1) * 2 * 16 * 8 + Bytes::mib(2));
}

TEST(NcclMemory, HeedsTheEnvironment) {
  const auto get = [](const char* name) -> const char* {
    if (std::strcmp(name, "NCCL_MAX_NCHANNELS") == 0) return "4";
    if (std::strcmp(name, "NCCL_BUFFSIZE") == 0) return "1048576";
    if (std::strcmp(name, "NCCL_CUMEM_ENABLE") == 0) return "0";
    return nullptr;
  };
  const NcclMemory memory = nccl_memory({23007, 90, 4, 4, 1, NcclLink::kNvSwitch}, nccl_environment(get));
  EXPECT_EQ(memory.channels, 4);
  // 4 KiB + 512 KiB + 4,800 KiB + 1 MiB, rounded up to 8 MiB, and 2 MiB of the sender's; ring, tree both ways, NVLS.
  EXPECT_EQ(memory.creation, Bytes::mib(2 + 2) + Bytes::mib(10) * 4 + Bytes::mib(10) * 4 + Bytes::mib(2) * 16 * 4);
}

TEST(NcclMemory, LinksByName) {
  EXPECT_EQ(usual_nccl_link("NVIDIA H100 80GB HBM3", 90), NcclLink::kNvSwitch);
  EXPECT_EQ(usual_nccl_link("NVIDIA A100-PCIE-40GB", 80), NcclLink::kPcie);
  EXPECT_EQ(usual_nccl_link("NVIDIA GeForce RTX 3090", 86), NcclLink::kHost);
  EXPECT_EQ(usual_nccl_link("NVIDIA RTX A6000", 86), NcclLink::kPcie);
  EXPECT_EQ(parse_nccl_link("pcie"), NcclLink::kPcie);
  EXPECT_FALSE(parse_nccl_link("infiniband"));
  EXPECT_EQ(to_string(NcclLink::kNvSwitch), "nvswitch");
}

}  // namespace
}  // namespace vramwise

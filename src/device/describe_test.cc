// The text and JSON of `vramwise detect`, line by line: people compare them with nvidia-smi, and scripts read them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "device/fake_system.h"
#include "device/machine.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

FakeSystem workstation() {
  FakeSystem system;
  system.set_host(Bytes::gib(64), Bytes::gib(50));
  system.files["/proc/self/cgroup"] = "0::/\n";
  system.files["/sys/fs/cgroup/memory.max"] = "34359738368\n";
  system.files["/sys/fs/cgroup/memory.current"] = "2147483648\n";
  system.files["/proc/4711/comm"] = "python3\n";
  system.disks["/dev/shm"] = {Bytes::gib(32), Bytes::gib(32)};
  system.driver = FakeDriver{};
  FakeDevice& device = system.driver->devices.emplace_back();
  device.memory = NvmlMemory{
      .total = Bytes::mib(24564).count(), .free = Bytes::mib(22218).count(), .reserved = Bytes::mib(346).count()};
  device.processes = std::vector<NvmlProcess>{{4711, Bytes::mib(1990).count()}};
  device.display = true;
  return system;
}

TEST(Describe, OneCardInAContainer) {
  FakeSystem system = workstation();
  system.files["/.dockerenv"] = "";
  EXPECT_EQ(describe(*probe(system)),
            "Detected GPUs: 1\n"
            "  NVIDIA driver        : 580.95.05, runs CUDA up to 13.0\n"
            "  CUDA_VISIBLE_DEVICES : unset\n"
            "  visible to CUDA      : 1\n"
            "\n"
            "GPU 0: NVIDIA GeForce RTX 4090 (cuda:0)\n"
            "  total (nvidia-smi)   : 24564 MiB (23.99 GiB)\n"
            "  total (CUDA)         : 24218 MiB (23.65 GiB), the total less what the driver keeps for itself\n"
            "  free                 : 22218 MiB (21.70 GiB)\n"
            "  used by others       : 2000 MiB (1.95 GiB) by python3 4711 1990 MiB\n"
            "  compute capability   : 8.9\n"
            "  driver               : 580.95.05\n"
            "  display              : drives a screen, which takes memory of it\n"
            "  PCI address          : 0000:01:00.0\n"
            "  UUID                 : GPU-8932f937-d72c-4106-c12f-20bd9faed9f6\n"
            "\n"
            "Host memory (in a container)\n"
            "  total                : 65536 MiB (64.00 GiB)\n"
            "  available            : 51200 MiB (50.00 GiB)\n"
            "  limit                : 32768 MiB (32.00 GiB), set by memory.max\n"
            "  used of the limit    : 2048 MiB (2.00 GiB)\n"
            "  budget now           : 30720 MiB (30.00 GiB)\n"
            "  /dev/shm             : 32768 MiB (32.00 GiB)\n");
}

TEST(Describe, NoGpu) {
  FakeSystem system;
  system.set_host(Bytes::gib(16), Bytes::gib(12));
  EXPECT_EQ(describe(*probe(system)),
            "Detected GPUs: 0\n"
            "  NVIDIA driver        : none\n"
            "  CUDA_VISIBLE_DEVICES : unset\n"
            "  visible to CUDA      : 0\n"
            "\n"
            "Host memory\n"
            "  total                : 16384 MiB (16.00 GiB)\n"
            "  available            : 12288 MiB (12.00 GiB)\n"
            "  limit                : none\n"
            "  budget now           : 12288 MiB (12.00 GiB)\n");
}

TEST(Describe, HiddenCardsAreSaid) {
  FakeSystem system = workstation();
  system.variables["CUDA_VISIBLE_DEVICES"] = "";
  const std::string text = describe(*probe(system));
  EXPECT_THAT(text, HasSubstr("(hidden from CUDA)"));
  EXPECT_THAT(text, HasSubstr("empty: no card is visible"));
  EXPECT_THAT(text, HasSubstr("visible to CUDA      : 0"));
}

TEST(Describe, NotAvailableIsNeverZero) {
  FakeSystem system = workstation();
  FakeDevice& device = system.driver->devices[0];
  device.name = "NVIDIA GB10";
  device.capability = {12, 1};
  device.memory = std::nullopt;
  const std::string text = describe(*probe(system));
  EXPECT_THAT(text, HasSubstr("total (nvidia-smi)   : N/A"));
  EXPECT_THAT(text, HasSubstr("65536 MiB (64.00 GiB), unified memory: the host's"));
  EXPECT_THAT(text, Not(HasSubstr(": 0 MiB")));
}

TEST(Describe, VendorsThatWereNotTried) {
  FakeSystem system;
  system.set_host(Bytes::gib(16), Bytes::gib(12));
  system.files["/sys/class/drm/card0/device/vendor"] = "0x1002\n";
  system.files["/sys/class/drm/card0/device/mem_info_vram_total"] = "17163091968\n";
  const std::string text = describe(*probe(system));
  EXPECT_THAT(text, HasSubstr("detected, not verified"));
  EXPECT_THAT(text, HasSubstr("total                : 16368 MiB"));
  EXPECT_THAT(text, HasSubstr("free                 : not told by the driver"));
}

TEST(ToJson, KeysAreThereAndUnknownIsNull) {
  FakeSystem system = workstation();
  system.driver->devices[0].memory->reserved = std::nullopt;
  system.driver->devices[0].name = "NVIDIA Something New";
  const Json json = to_json(*probe(system));
  EXPECT_EQ(json.at("schema"), "vramwise.detect");
  const Json& gpu = json.at("gpus").at(0);
  EXPECT_EQ(gpu.at("vendor"), "nvidia");
  EXPECT_EQ(gpu.at("compute_capability"), "8.9");
  EXPECT_EQ(gpu.at("memory").at("nvml_total_bytes"), Bytes::mib(24564).count());
  EXPECT_TRUE(gpu.at("memory").at("cuda_total_bytes").is_null());
  EXPECT_EQ(gpu.at("memory").at("cuda_total_source"), "unknown");
  EXPECT_TRUE(gpu.at("ecc").is_null());
  EXPECT_TRUE(gpu.at("mig").is_null());
  EXPECT_EQ(gpu.at("processes").at(0).at("pid"), 4711);
  EXPECT_EQ(json.at("cuda_devices").at(0).at("gpu"), 0);
  EXPECT_TRUE(json.at("cuda_devices").at(0).at("mig_instance").is_null());
  EXPECT_EQ(json.at("host").at("budget_bytes"), Bytes::gib(30).count());
  EXPECT_TRUE(json.at("host").at("swap_total_bytes").is_null());
  EXPECT_EQ(json.at("driver").at("nvidia"), "working");
  EXPECT_TRUE(json.at("visibility").at("cuda_visible_devices").is_null());
}

}  // namespace
}  // namespace vramwise

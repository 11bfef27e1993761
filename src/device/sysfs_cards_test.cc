// AMD and Intel cards, as their kernel drivers show them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/fake_system.h"
#include "device/vendors.h"

namespace vramwise {
namespace {

using ::testing::IsEmpty;

void add_drm(FakeSystem& system, const std::string& card, const std::string& pci_id, const std::string& vendor,
             const std::string& device) {
  const std::string folder = "/sys/class/drm/" + card + "/device";
  system.links[folder] = "../../../" + pci_id;
  system.files[folder + "/vendor"] = vendor + "\n";
  system.files[folder + "/device"] = device + "\n";
}

FakeSystem radeon_7900() {
  FakeSystem system;
  add_drm(system, "card1", "0000:03:00.0", "0x1002", "0x744c");
  const std::string device = "/sys/class/drm/card1/device/";
  system.files[device + "revision"] = "0xc8\n";
  system.files[device + "mem_info_vram_total"] = "25753026560\n";
  system.files[device + "mem_info_vram_used"] = "1073741824\n";
  system.files[device + "mem_info_gtt_total"] = "33500000000\n";
  system.files[device + "mem_info_gtt_used"] = "20000000\n";
  system.files[device + "mem_info_vram_vendor"] = "samsung\n";
  system.files[device + "gpu_metrics"] = std::string("\x78\x00\x01\x03rest", 8);
  system.files[device + "unique_id"] = "a1b2c3d4e5f60718\n";
  system.files[device + "drm/renderD128/dev"] = "226:128\n";
  system.files["/sys/class/kfd/kfd/topology/nodes/0/properties"] = "cpu_cores_count 16\nsimd_count 0\n";
  system.files["/sys/class/kfd/kfd/topology/nodes/1/properties"] =
      "cpu_cores_count 0\nsimd_count 192\ngfx_target_version 110000\ndrm_render_minor 128\n";
  system.files["/usr/share/libdrm/amdgpu.ids"] =
      "# comment\n1.0.0\n744C,\tCC,\tAMD Radeon RX 7900 XT\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n";
  system.files["/sys/class/drm/card1-DP-1/status"] = "disconnected\n";
  system.files["/sys/class/drm/card1-HDMI-A-1/status"] = "connected\n";
  return system;
}

TEST(ProbeAmd, CardOfItsOwn) {
  FakeSystem system = radeon_7900();
  const auto gpus = probe_amd(system);
  ASSERT_EQ(gpus.size(), 1U);
  const Gpu& gpu = gpus[0];
  EXPECT_EQ(gpu.vendor, GpuVendor::kAmd);
  EXPECT_EQ(gpu.name, "AMD Radeon RX 7900 XTX");
  EXPECT_EQ(gpu.pci_id, "0000:03:00.0");
  EXPECT_EQ(gpu.uuid, "GPU-a1b2c3d4e5f60718");
  EXPECT_EQ(gpu.architecture, "gfx1100");
  EXPECT_EQ(gpu.memory.nvml_total, Bytes(25753026560)) << "GTT is host memory, and does not count";
  EXPECT_EQ(gpu.memory.free, Bytes(25753026560) - Bytes::gib(1));
  EXPECT_EQ(gpu.memory.cuda_total_source, TotalSource::kSysfs);
  EXPECT_FALSE(gpu.unified_memory);
  EXPECT_EQ(gpu.display, true);
  EXPECT_FALSE(gpu.verified);
}

TEST(ProbeAmd, ApuCountsGtt) {
  FakeSystem system = radeon_7900();
  const std::string device = "/sys/class/drm/card1/device/";
  system.files[device + "mem_info_vram_total"] = "536870912\n";
  system.files[device + "mem_info_vram_used"] = "536870912\n";
  system.files[device + "mem_info_gtt_total"] = "68719476736\n";
  system.files[device + "mem_info_gtt_used"] = "1073741824\n";
  system.files[device + "gpu_metrics"] = std::string("\x78\x00\x03\x00rest", 8);
  const Gpu gpu = probe_amd(system).at(0);
  EXPECT_TRUE(gpu.unified_memory);
  EXPECT_TRUE(gpu.integrated);
  EXPECT_EQ(gpu.memory.nvml_total, Bytes::mib(512) + Bytes::gib(64));
  EXPECT_EQ(gpu.memory.used, Bytes::mib(512) + Bytes::gib(1));
}

TEST(ProbeAmd, ApuByItsTopologyNode) {
  FakeSystem system = radeon_7900();
  system.files.erase("/sys/class/drm/card1/device/gpu_metrics");
  system.files["/sys/class/kfd/kfd/topology/nodes/1/properties"] =
      "cpu_cores_count 16\nsimd_count 80\ngfx_target_version 110501\ndrm_render_minor 128\n";
  const Gpu gpu = probe_amd(system).at(0);
  EXPECT_TRUE(gpu.integrated);
  EXPECT_EQ(gpu.architecture, "gfx1151");
}

TEST(ProbeAmd, NamesWithoutDatabases) {
  FakeSystem system = radeon_7900();
  system.files.erase("/usr/share/libdrm/amdgpu.ids");
  EXPECT_EQ(probe_amd(system).at(0).name, "AMD GPU 744c");
  system.files["/usr/share/misc/pci.ids"] =
      "1001  Other\n\t744c  Wrong\n1002  Advanced Micro Devices, Inc. [AMD/ATI]\n\t73df  Navi 22\n"
      "\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX]\n\t\t1002 0e3b  Sub\n1003  ULSI\n\t744c  Wrong\n";
  EXPECT_EQ(probe_amd(system).at(0).name, "AMD Navi 31 [Radeon RX 7900 XT/7900 XTX]");
  system.files["/sys/class/drm/card1/device/product_name"] = "AMD Instinct MI250X\n";
  EXPECT_EQ(probe_amd(system).at(0).name, "AMD Instinct MI250X");
}

TEST(ProbeAmd, OldDriverWithoutFigures) {
  FakeSystem system;
  add_drm(system, "card0", "0000:01:00.0", "0x1002", "0x6818");
  const Gpu gpu = probe_amd(system).at(0);
  EXPECT_FALSE(gpu.memory.nvml_total);
  EXPECT_FALSE(gpu.memory.available());
  EXPECT_FALSE(gpu.display);
  EXPECT_EQ(gpu.uuid, "");
}

TEST(ProbeAmd, ManyCardsByNumber) {
  FakeSystem system;
  for (const char* card : {"card10", "card2", "card9"}) {
    add_drm(system, card, std::string("0000:0") + card[4] + ":00.0", "0x1002", "0x740f");
  }
  const auto gpus = probe_amd(system);
  ASSERT_EQ(gpus.size(), 3U);
  EXPECT_EQ(gpus[0].pci_id, "0000:02:00.0");
  EXPECT_EQ(gpus[2].pci_id, "0000:01:00.0") << "card10 is last";
}

TEST(ProbeIntel, ArcUnderXeSumsItsTiles) {
  FakeSystem system;
  add_drm(system, "card0", "0000:03:00.0", "0x8086", "0xe20b");
  system.files["/sys/class/drm/card0/device/tile0/physical_vram_size_bytes"] = "12884901888\n";
  system.files["/usr/share/hwdata/pci.ids"] = "8086  Intel Corporation\n\te20b  Battlemage G21 [Arc B580]\n";
  const auto gpus = probe_intel(system);
  ASSERT_EQ(gpus.size(), 1U);
  EXPECT_EQ(gpus[0].name, "Intel Arc B580");
  EXPECT_EQ(gpus[0].memory.nvml_total, Bytes::gib(12));
  EXPECT_FALSE(gpus[0].memory.free) << "xe does not tell";
  EXPECT_FALSE(gpus[0].integrated);
  EXPECT_FALSE(gpus[0].verified);
}

TEST(ProbeIntel, ArcUnderIntelsI915) {
  FakeSystem system;
  add_drm(system, "card0", "0000:03:00.0", "0x8086", "0x56a0");
  system.files["/sys/class/drm/card0/lmem_total_bytes"] = "17179869184\n";
  system.files["/sys/class/drm/card0/lmem_avail_bytes"] = "16106127360\n";
  const Gpu gpu = probe_intel(system).at(0);
  EXPECT_EQ(gpu.memory.nvml_total, Bytes::gib(16));
  EXPECT_EQ(gpu.memory.used_by_others, Bytes::gib(1));
}

TEST(ProbeIntel, IntegratedGraphicsHaveNoMemoryOfTheirOwn) {
  FakeSystem system;
  add_drm(system, "card0", "0000:00:02.0", "0x8086", "0x46a6");
  const Gpu gpu = probe_intel(system).at(0);
  EXPECT_TRUE(gpu.integrated);
  EXPECT_FALSE(gpu.memory.nvml_total);
}

TEST(ProbeVendors, WithoutSysfsThereIsNothing) {
  FakeSystem system;
  EXPECT_THAT(probe_amd(system), IsEmpty());
  EXPECT_THAT(probe_intel(system), IsEmpty());
  EXPECT_THAT(probe_pci(system), IsEmpty());
}

}  // namespace
}  // namespace vramwise

// Odd NVIDIA machines, through the fake.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/fake_system.h"
#include "device/machine.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kMib = 1 << 20;

NvmlMemory memory_mib(std::int64_t total, std::int64_t free, std::optional<std::int64_t> reserved) {
  return {.total = total * kMib,
          .free = free * kMib,
          .reserved = reserved ? std::optional(*reserved * kMib) : std::nullopt};
}

FakeDevice rtx_4090() {
  FakeDevice device;
  device.memory = memory_mib(24564, 24217, 346);
  device.cores = 16384;
  device.clock_mhz = 3105;
  return device;
}

FakeDevice rtx_3080() {
  FakeDevice device;
  device.name = "NVIDIA GeForce RTX 3080";
  device.uuid = "GPU-f00dfeed-aaaa-bbbb-cccc-ddddeeeeffff";
  device.pci_id = "00000000:41:00.0";
  device.capability = {8, 6};
  device.memory = memory_mib(10240, 9900, 244);
  device.cores = 8704;
  device.clock_mhz = 2100;
  return device;
}

FakeSystem machine_with(std::vector<FakeDevice> devices) {
  FakeSystem system;
  system.set_host(Bytes::gib(64), Bytes::gib(50));
  system.driver = FakeDriver{};
  system.driver->devices = std::move(devices);
  return system;
}

Machine probed(FakeSystem& system) {
  auto machine = probe(system);
  EXPECT_TRUE(machine.ok());
  return *std::move(machine);
}

TEST(Probe, OneCard) {
  FakeSystem system = machine_with({rtx_4090()});
  const Machine machine = probed(system);
  ASSERT_EQ(machine.gpus.size(), 1U);
  const Gpu& gpu = machine.gpus[0];
  EXPECT_EQ(gpu.name, "NVIDIA GeForce RTX 4090");
  EXPECT_EQ(gpu.pci_id, "0000:01:00.0");
  EXPECT_EQ(gpu.capability, (ComputeCapability{8, 9}));
  EXPECT_EQ(gpu.memory.nvml_total, Bytes::mib(24564));
  EXPECT_EQ(gpu.memory.cuda_total, Bytes::mib(24564 - 346));
  EXPECT_EQ(gpu.memory.cuda_total_source, TotalSource::kReserve);
  EXPECT_EQ(gpu.memory.used, Bytes::mib(1));
  EXPECT_EQ(gpu.memory.available(), Bytes::mib(24217));
  EXPECT_EQ(gpu.cuda_index, 0);
  EXPECT_EQ(gpu.hidden, false);
  EXPECT_FALSE(gpu.ecc) << "not told is not off";
  EXPECT_FALSE(gpu.display);
  EXPECT_EQ(machine.driver.nvidia, NvidiaState::kWorking);
  EXPECT_EQ(machine.driver.nvidia_version, "580.95.05");
  EXPECT_THAT(machine.visibility.notes, IsEmpty());
  EXPECT_THAT(machine.warnings, IsEmpty());
}

TEST(Probe, AnOldDriverThatTellsNoReserve) {
  FakeDevice device = rtx_4090();
  device.memory = memory_mib(24564, 24000, std::nullopt);
  FakeSystem system = machine_with({device});
  const GpuModel* model = find_by_nvml_name("NVIDIA GeForce RTX 4090");
  ASSERT_NE(model, nullptr);
  const Machine machine = probed(system);
  EXPECT_EQ(machine.gpus[0].memory.cuda_total, model->cuda_total);
  EXPECT_EQ(machine.gpus[0].memory.cuda_total_source, TotalSource::kCatalogue);
  EXPECT_EQ(machine.gpus[0].memory.available(), *model->cuda_total - Bytes::mib(564));
}

TEST(Probe, ACardThatNobodyKnowsKeepsItsTotalUnknown) {
  FakeDevice device = rtx_4090();
  device.memory = memory_mib(30000, 29000, std::nullopt);
  FakeSystem system = machine_with({device});
  EXPECT_FALSE(probed(system).gpus[0].memory.cuda_total) << "another memory than the catalogue's card has";
  system.driver->devices[0].name = "NVIDIA Something New";
  const Machine machine = probed(system);
  EXPECT_FALSE(machine.gpus[0].memory.cuda_total);
  EXPECT_EQ(machine.gpus[0].memory.cuda_total_source, TotalSource::kUnknown);
  EXPECT_EQ(machine.gpus[0].memory.available(), Bytes::mib(29000));
}

TEST(Probe, AnotherProcessOnTheCardAndOurOwn) {
  FakeDevice device = rtx_4090();
  device.memory = memory_mib(24564, 16218, 346);  // 8000 MiB in use
  device.processes = std::vector<NvmlProcess>{{4711, 5000 * kMib}, {4242, 2000 * kMib}, {99, std::nullopt}};
  FakeSystem system = machine_with({device});
  system.files["/proc/4711/comm"] = "python3\n";
  const Machine machine = probed(system);
  const Gpu& gpu = machine.gpus[0];
  EXPECT_EQ(gpu.memory.used, Bytes::mib(8000));
  EXPECT_EQ(gpu.memory.used_by_others, Bytes::mib(6000)) << "process 4242 is this one";
  EXPECT_EQ(gpu.memory.available(), Bytes::mib(24218 - 6000));
  ASSERT_EQ(gpu.processes->size(), 3U);
  EXPECT_EQ((*gpu.processes)[0].name, "python3");
  EXPECT_FALSE((*gpu.processes)[2].used);
}

TEST(Probe, ProcessesThatAreNotShownStillTakeMemory) {
  FakeDevice device = rtx_4090();
  device.memory = memory_mib(24564, 20218, 346);
  device.processes = std::nullopt;
  FakeSystem system = machine_with({device});
  const Machine machine = probed(system);
  EXPECT_FALSE(machine.gpus[0].processes);
  EXPECT_EQ(machine.gpus[0].memory.used_by_others, Bytes::mib(4000));
}

TEST(Probe, HiddenCard) {
  FakeSystem system = machine_with({rtx_4090(), rtx_3080()});
  system.variables["CUDA_VISIBLE_DEVICES"] = "1";
  system.variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID";
  const Machine machine = probed(system);
  EXPECT_EQ(machine.gpus[0].hidden, true);
  EXPECT_FALSE(machine.gpus[0].cuda_index);
  EXPECT_EQ(machine.gpus[1].cuda_index, 0);
  EXPECT_TRUE(machine.visibility.order_certain);
  EXPECT_THAT(machine.visibility.notes, ElementsAre(HasSubstr("hides GPU 0 (NVIDIA GeForce RTX 4090)")));
  const auto devices = machine.cuda_devices();
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_EQ(devices[0].name, "NVIDIA GeForce RTX 3080");
  EXPECT_EQ(devices[0].gpu, 1U);
}

TEST(Probe, EmptyVariableHidesAll) {
  FakeSystem system = machine_with({rtx_4090()});
  system.variables["CUDA_VISIBLE_DEVICES"] = "";
  const Machine machine = probed(system);
  EXPECT_THAT(machine.cuda_devices(), IsEmpty());
  EXPECT_EQ(machine.gpus[0].hidden, true);
}

TEST(Probe, MixedCardsAreNumberedFastestFirst) {
  FakeSystem system = machine_with({rtx_3080(), rtx_4090()});
  Machine machine = probed(system);
  EXPECT_EQ(machine.gpus[0].cuda_index, 1) << "the slower card comes first by address, second in CUDA";
  EXPECT_EQ(machine.gpus[1].cuda_index, 0);
  EXPECT_FALSE(machine.visibility.order_certain);
  EXPECT_THAT(machine.visibility.notes, ElementsAre(HasSubstr("PCI_BUS_ID")));
  EXPECT_EQ(machine.cuda_devices()[0].name, "NVIDIA GeForce RTX 4090");

  system.variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID";
  machine = probed(system);
  EXPECT_EQ(machine.gpus[0].cuda_index, 0);
  EXPECT_TRUE(machine.visibility.order_certain);
}

TEST(Probe, EqualCardsKeepTheirOrder) {
  FakeDevice second = rtx_4090();
  second.uuid = "GPU-22222222-0000-0000-0000-000000000000";
  FakeSystem system = machine_with({rtx_4090(), second});
  const Machine machine = probed(system);
  EXPECT_EQ(machine.gpus[0].cuda_index, 0);
  EXPECT_EQ(machine.gpus[1].cuda_index, 1);
  EXPECT_TRUE(machine.visibility.order_certain);
}

FakeDevice mig_instance(const char* uuid, int gpu_instance) {
  FakeDevice device;
  device.name = "NVIDIA A100-SXM4-40GB MIG 1g.5gb";
  device.uuid = uuid;
  device.memory = memory_mib(4864, 4851, 0);
  device.gpu_instance = gpu_instance;
  device.compute_instance = 0;
  return device;
}

FakeDevice a100_with_mig() {
  FakeDevice device;
  device.name = "NVIDIA A100-SXM4-40GB";
  device.uuid = "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77";
  device.capability = {8, 0};
  device.mig = true;
  device.ecc = true;
  device.mig_slots = {mig_instance("MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", 7), std::nullopt,
                      mig_instance("MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb", 8)};
  return device;
}

TEST(Probe, MigInstancesAreDevices) {
  FakeSystem system = machine_with({a100_with_mig()});
  const Machine machine = probed(system);
  const Gpu& gpu = machine.gpus[0];
  ASSERT_EQ(gpu.mig_instances.size(), 2U);
  EXPECT_EQ(gpu.mig_instances[1].index, 2) << "an empty slot lies between";
  EXPECT_EQ(gpu.mig_instances[1].memory.nvml_total, Bytes::mib(4864));
  EXPECT_EQ(gpu.mig_instances[1].gpu_instance, 8);
  EXPECT_FALSE(gpu.cuda_index) << "a card in MIG mode is no device itself";
  EXPECT_FALSE(gpu.unified_memory) << "refusing its own memory figures is MIG's doing";
  EXPECT_FALSE(gpu.memory.nvml_total);
  const auto devices = machine.cuda_devices();
  ASSERT_EQ(devices.size(), 1U) << "CUDA shows one instance";
  EXPECT_EQ(devices[0].mig, 0U);
  EXPECT_EQ(devices[0].memory.nvml_total, Bytes::mib(4864));
  EXPECT_EQ(devices[0].capability, (ComputeCapability{8, 0}));
}

TEST(Probe, MigInstanceByUuid) {
  FakeSystem system = machine_with({a100_with_mig()});
  system.variables["CUDA_VISIBLE_DEVICES"] = "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb";
  const Machine machine = probed(system);
  EXPECT_FALSE(machine.gpus[0].mig_instances[0].cuda_index);
  EXPECT_EQ(machine.gpus[0].mig_instances[1].cuda_index, 0);
}

TEST(Probe, UnifiedMemoryReadsNotAvailable) {
  FakeDevice device;
  device.name = "NVIDIA GB10";
  device.capability = {12, 1};
  device.memory = std::nullopt;
  FakeSystem system = machine_with({device});
  const Machine machine = probed(system);
  const Gpu& gpu = machine.gpus[0];
  EXPECT_TRUE(gpu.unified_memory);
  EXPECT_FALSE(gpu.memory.nvml_total) << "N/A, as nvidia-smi shows it";
  EXPECT_EQ(gpu.memory.cuda_total, Bytes::gib(64));
  EXPECT_EQ(gpu.memory.cuda_total_source, TotalSource::kHost);
  EXPECT_EQ(gpu.memory.available(), Bytes::gib(50));
}

TEST(Probe, JetsonWithoutNvml) {
  FakeSystem system;
  system.set_host(Bytes::gib(32), Bytes::gib(28));
  system.files["/proc/device-tree/compatible"] = std::string("nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0", 45);
  system.files["/proc/device-tree/model"] = std::string("NVIDIA Jetson AGX Orin Developer Kit\0", 37);
  const Machine machine = probed(system);
  ASSERT_EQ(machine.gpus.size(), 1U);
  EXPECT_EQ(machine.gpus[0].name, "NVIDIA Jetson AGX Orin Developer Kit");
  EXPECT_EQ(machine.gpus[0].capability, (ComputeCapability{8, 7}));
  EXPECT_EQ(machine.gpus[0].memory.available(), Bytes::gib(28));
  EXPECT_EQ(machine.driver.nvidia, NvidiaState::kNoDriver);
}

TEST(Probe, DriverThatFailsHalfWay) {
  FakeDevice lost = rtx_4090();
  lost.handle_code = kNvmlGpuIsLost;
  FakeSystem system = machine_with({rtx_4090(), lost, rtx_4090()});
  const Machine machine = probed(system);
  ASSERT_EQ(machine.gpus.size(), 3U) << "the lost card keeps its place in the numbering";
  EXPECT_THAT(machine.gpus[1].failure.value_or(""), HasSubstr("GPU_IS_LOST"));
  EXPECT_FALSE(machine.gpus[1].memory.nvml_total);
  EXPECT_EQ(machine.gpus[2].memory.nvml_total, Bytes::mib(24564));
  EXPECT_THAT(machine.warnings, ElementsAre(HasSubstr("GPU 1")));
  EXPECT_EQ(machine.cuda_devices().size(), 2U);
}

TEST(Probe, DriverThatDoesNotCount) {
  FakeSystem system = machine_with({rtx_4090()});
  system.driver->count_code = kNvmlUnknown;
  const Machine machine = probed(system);
  EXPECT_THAT(machine.gpus, IsEmpty());
  EXPECT_THAT(machine.warnings, ElementsAre(HasSubstr("999")));
}

TEST(Probe, ADriverThatAnswersNothingButTheCount) {
  FakeDevice silent;
  silent.name.reset();
  silent.uuid.reset();
  silent.pci_id.reset();
  silent.capability = std::nullopt;
  silent.processes = std::nullopt;
  silent.mig = true;  // else "no memory" would mean unified
  FakeSystem system = machine_with({silent});
  system.driver->version = std::nullopt;
  system.driver->cuda_version = std::nullopt;
  const Machine machine = probed(system);
  ASSERT_EQ(machine.gpus.size(), 1U);
  EXPECT_EQ(machine.gpus[0].name, "NVIDIA card");
  EXPECT_FALSE(machine.gpus[0].capability);
  EXPECT_FALSE(machine.gpus[0].memory.available());
  EXPECT_FALSE(machine.driver.nvidia_version);
}

TEST(Probe, LibraryThatDoesNotFitTheKernelModule) {
  FakeSystem system = machine_with({rtx_4090()});
  system.driver->start_code = kNvmlLibRmVersionMismatch;
  system.files["/proc/driver/nvidia/version"] =
      "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version:\n";
  const Machine machine = probed(system);
  EXPECT_EQ(machine.driver.nvidia, NvidiaState::kFailed);
  EXPECT_EQ(machine.driver.nvml_error, kNvmlLibRmVersionMismatch);
  EXPECT_EQ(machine.driver.nvidia_kernel_version, "535.183.01");
  EXPECT_THAT(machine.gpus, IsEmpty());
}

TEST(Probe, CardWithoutDriver) {
  FakeSystem system;
  system.set_host(Bytes::gib(16), Bytes::gib(12));
  system.add_pci("0000:01:00.0", "0x10de", "0x2684", "nouveau");
  system.add_pci("0000:00:1f.3", "0x8086", "0x7a50", "snd_hda_intel", "0x040300");
  const Machine machine = probed(system);
  EXPECT_EQ(machine.driver.nvidia, NvidiaState::kNoDriver);
  ASSERT_EQ(machine.pci_cards.size(), 1U) << "sound is no display";
  EXPECT_EQ(machine.pci_cards[0].driver, "nouveau");
}

TEST(Probe, NoGpuAtAll) {
  FakeSystem system;
  system.set_host(Bytes::gib(16), Bytes::gib(12));
  const Machine machine = probed(system);
  EXPECT_THAT(machine.gpus, IsEmpty());
  EXPECT_EQ(machine.driver.nvidia, NvidiaState::kNone);
  EXPECT_EQ(machine.host.budget(), Bytes::gib(12));
}

TEST(Probe, NothingCanBeRead) {
  FakeSystem system;
  const auto machine = probe(system);
  ASSERT_FALSE(machine.ok());
  EXPECT_EQ(machine.error().code, ErrorCode::kWorld);
}

TEST(Probe, WslAndContainer) {
  FakeSystem system = machine_with({rtx_4090()});
  system.files["/proc/sys/kernel/osrelease"] = "5.15.153.1-microsoft-standard-WSL2\n";
  EXPECT_TRUE(probed(system).wsl);
  EXPECT_FALSE(probed(system).container);
  system.files["/.dockerenv"] = "";
  EXPECT_TRUE(probed(system).container);
}

}  // namespace
}  // namespace vramwise

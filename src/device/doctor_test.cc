#include "device/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "device/fake_system.h"

namespace vramwise {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

auto finding(Severity severity, const std::string& what, const std::string& remedy = "") {
  return AllOf(Field(&Finding::severity, severity), Field(&Finding::what, HasSubstr(what)),
               Field(&Finding::remedy, HasSubstr(remedy)));
}

FakeSystem healthy() {
  FakeSystem system;
  system.set_host(Bytes::gib(64), Bytes::gib(50));
  system.driver = FakeDriver{};
  FakeDevice& device = system.driver->devices.emplace_back();
  device.memory = NvmlMemory{
      .total = Bytes::mib(24564).count(), .free = Bytes::mib(24210).count(), .reserved = Bytes::mib(346).count()};
  system.disks["/home/someone/project"] = {Bytes::gib(500), Bytes::gib(200)};
  system.disks["/dev/shm"] = {Bytes::gib(32), Bytes::gib(32)};
  system.files["/dev/nvidiactl"] = "";
  system.files["/dev/nvidia-uvm"] = "";
  return system;
}

std::vector<Finding> examined(FakeSystem& system, const DoctorContext& context = {}) {
  const auto machine = probe(system);
  EXPECT_TRUE(machine.ok());
  return diagnose(*machine, system, context);
}

TEST(Doctor, HealthyMachine) {
  FakeSystem system = healthy();
  const auto findings = examined(system);
  EXPECT_THAT(findings, Each(Field(&Finding::severity, Severity::kOk)));
  EXPECT_THAT(findings, Contains(finding(Severity::kOk, "580.95.05")));
  EXPECT_THAT(describe(findings), HasSubstr("No problems found.\n"));
}

TEST(Doctor, NoGpu) {
  FakeSystem system = healthy();
  system.driver.reset();
  system.files.erase("/dev/nvidiactl");
  const auto findings = examined(system);
  EXPECT_THAT(findings, Contains(finding(Severity::kHint, "no GPU was found", "--gpu")));
  EXPECT_THAT(describe(findings), HasSubstr("No problems found."));
}

TEST(Doctor, CardWithFreeDriverOrNone) {
  FakeSystem system = healthy();
  system.driver.reset();
  system.add_pci("0000:01:00.0", "0x10de", "0x2684", "nouveau");
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "nouveau", "install NVIDIA's driver")));
  system.add_pci("0000:01:00.0", "0x10de", "0x2684", "vfio-pci");
  EXPECT_THAT(examined(system), Contains(finding(Severity::kHint, "virtual machine", "unbind")));
  system.links.clear();
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "no working driver")));
}

TEST(Doctor, ContainerWithoutGpuAccess) {
  FakeSystem system = healthy();
  system.driver.reset();
  system.files["/.dockerenv"] = "";
  system.files["/sys/module/nvidia/version"] = "580.95.05\n";
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "libnvidia-ml.so.1", "--gpus all")));
  system.variables["NVIDIA_VISIBLE_DEVICES"] = "void";
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "NVIDIA_VISIBLE_DEVICES=void", "--gpus all")));
}

TEST(Doctor, LibraryAndModuleDiffer) {
  FakeSystem system = healthy();
  system.driver->start_code = kNvmlLibRmVersionMismatch;
  system.files["/sys/module/nvidia/version"] = "535.183.01\n";
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "535.183.01", "restart the machine")));
  system.files["/.dockerenv"] = "";
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "different versions", "restart the container")));
}

TEST(Doctor, ModuleNotLoadedAndOtherRefusals) {
  FakeSystem system = healthy();
  system.driver->start_code = kNvmlDriverNotLoaded;
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "not loaded", "modprobe")));
  system.driver->start_code = kNvmlNoPermission;
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "refuses", "/dev/nvidia")));
  system.driver->start_code = kNvmlUnknown;
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "NVML_ERROR_UNKNOWN (999)", "nvidia-smi")));
}

TEST(Doctor, DriverTooOldNamesTheWheelThatWorks) {
  FakeSystem system = healthy();
  system.driver->version = "550.54.15";
  system.driver->cuda_version = 12040;
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "550.54.15 is too old", "torch==2.14.1+cu126")));
  system.driver->cuda_version = std::nullopt;
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "too old")));
  system.driver->version = "470.256.02";
  EXPECT_THAT(examined(system), Contains(AllOf(finding(Severity::kError, "too old", "580.65.06 or newer"),
                                               Field(&Finding::remedy, Not(HasSubstr("cu126"))))));
}

TEST(Doctor, NewerDriverIsFine) {
  FakeSystem system = healthy();
  system.driver->version = "590.44.01";
  system.driver->cuda_version = 13010;
  EXPECT_THAT(examined(system), Contains(finding(Severity::kOk, "CUDA up to 13.1")));
}

TEST(Doctor, CapabilityBelowTheWheel) {
  FakeSystem system = healthy();
  FakeDevice& device = system.driver->devices[0];
  device.name = "NVIDIA GeForce GTX 1080";
  device.capability = {6, 1};
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "compute capability 6.1", "cu126")));
  device.capability = {3, 5};
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "3.5", "no current PyTorch")));
  device.capability = {7, 5};
  EXPECT_THAT(examined(system), Each(Field(&Finding::severity, Severity::kOk)));
}

TEST(Doctor, HiddenCards) {
  FakeSystem system = healthy();
  system.variables["CUDA_VISIBLE_DEVICES"] = "3";
  const auto findings = examined(system);
  EXPECT_THAT(findings, Contains(finding(Severity::kWarning, "does not exist", "unset CUDA_VISIBLE_DEVICES")));
  EXPECT_THAT(findings, Contains(finding(Severity::kWarning, "hides GPU 0")));
}

TEST(Doctor, MemoryTakenByOthers) {
  FakeSystem system = healthy();
  system.driver->devices[0].memory->free = Bytes::gib(10).count();
  EXPECT_THAT(examined(system), Contains(finding(Severity::kWarning, "taken by others", "vramwise detect")));
}

TEST(Doctor, MigWithoutInstances) {
  FakeSystem system = healthy();
  system.driver->devices[0].mig = true;
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "MIG mode", "nvidia-smi mig")));
}

TEST(Doctor, LostCard) {
  FakeSystem system = healthy();
  system.driver->devices[0].handle_code = kNvmlGpuIsLost;
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "NVML_ERROR_GPU_IS_LOST", "xid")));
}

TEST(Doctor, MissingUvmNode) {
  FakeSystem system = healthy();
  system.files.erase("/dev/nvidia-uvm");
  EXPECT_THAT(examined(system), Contains(finding(Severity::kError, "/dev/nvidia-uvm", "nvidia-modprobe")));
}

TEST(Doctor, HostLimitsSharedMemorySwapAndDisk) {
  FakeSystem system = healthy();
  system.files["/proc/meminfo"] += "SwapTotal: 8388608 kB\nSwapFree: 1048576 kB\n";
  system.files["/proc/self/cgroup"] = "0::/\n";
  system.files["/sys/fs/cgroup/memory.max"] = "1073741824\n";
  system.disks["/dev/shm"] = {Bytes::mib(64), Bytes::mib(64)};
  system.disks["/home/someone/project"] = {Bytes::gib(500), Bytes::gib(3)};
  const auto findings = examined(system);
  EXPECT_THAT(findings, Contains(finding(Severity::kHint, "1.00 GiB of the host's 64.00 GiB", "--memory")));
  EXPECT_THAT(findings, Contains(finding(Severity::kWarning, "only 1.00 GiB of host memory")));
  EXPECT_THAT(findings, Contains(finding(Severity::kWarning, "swap", "close")));
  EXPECT_THAT(findings, Contains(finding(Severity::kWarning, "/dev/shm has only 64.0 MiB", "--shm-size")));
  EXPECT_THAT(findings, Contains(finding(Severity::kWarning, "3.00 GiB are free in /home/someone/project")));
}

TEST(Doctor, OtherVendorsAndWsl) {
  FakeSystem system = healthy();
  system.files["/sys/class/drm/card0/device/vendor"] = "0x1002\n";
  system.files["/sys/class/drm/card1/device/vendor"] = "0x8086\n";
  system.links["/sys/class/drm/card1/device"] = "../../../0000:00:02.0";
  system.files["/proc/sys/kernel/osrelease"] = "5.15.153.1-microsoft-standard-WSL2\n";
  const auto findings = examined(system);
  EXPECT_THAT(findings, Contains(finding(Severity::kWarning, "does not train on AMD", "CPU")));
  EXPECT_THAT(findings, Not(Contains(finding(Severity::kWarning, "Intel")))) << "integrated graphics are nobody's plan";
  EXPECT_THAT(findings, Contains(finding(Severity::kHint, "Windows may move", "Sysmem")));
}

TEST(Doctor, SoftwareAround) {
  FakeSystem system = healthy();
  system.variables["LD_LIBRARY_PATH"] = "/opt/empty:/usr/local/cuda/lib64";
  system.files["/usr/local/cuda/lib64/libcudart.so.12"] = "";
  DoctorContext context;
  context.glibc_version = "2.17";
  const auto findings = examined(system, context);
  EXPECT_THAT(findings, Contains(finding(Severity::kWarning, "/usr/local/cuda/lib64/libcudart.so.12", "unset")));
  EXPECT_THAT(findings, Contains(finding(Severity::kError, "2.17", "distribution")));
  context.glibc_version = "2.36";
  EXPECT_THAT(examined(system, context), Not(Contains(finding(Severity::kError, "glibc"))));
}

TEST(Doctor, ErrorsComeFirst) {
  FakeSystem system = healthy();
  system.driver->devices[0].capability = {6, 1};
  system.disks["/dev/shm"] = {Bytes::mib(64), Bytes::mib(64)};
  const auto findings = examined(system);
  ASSERT_GE(findings.size(), 3U);
  EXPECT_EQ(findings[0].severity, Severity::kError);
  EXPECT_EQ(findings[1].severity, Severity::kWarning);
  EXPECT_EQ(findings.back().severity, Severity::kOk);
  EXPECT_THAT(describe(findings), HasSubstr("2 problems found.\n"));
  EXPECT_EQ(to_json(findings).at("findings").at(0).at("severity"), "error");
}

TEST(Doctor, ThePyTorchOfTheTrainer) {
  FakeSystem system = healthy();
  DoctorContext context;
  context.torch_folder = "/env/torch";
  EXPECT_EQ(torch_version(system, "/env/torch"), std::nullopt);
  EXPECT_THAT(examined(system, context), Contains(finding(Severity::kError, "is gone from /env/torch", "make build")));
  system.files["/env/torch/version.py"] =
      "from typing import Optional\n\n__version__ = '2.14.1+cu130'\ndebug = False\n";
  EXPECT_EQ(torch_version(system, "/env/torch"), "2.14.1+cu130");
  EXPECT_THAT(examined(system, context), Contains(finding(Severity::kOk, "PyTorch 2.14.1+cu130")));
  const auto bundle = parse_json(make_bundle(*probe(system), system, context), "bundle");
  EXPECT_EQ(bundle.value().at("torch_version"), "2.14.1+cu130");

  system.files["/env/torch/version.py"] = "__version__ = '2.14.1+cpu'\n";
  EXPECT_THAT(examined(system, context),
              Contains(finding(Severity::kError, "2.14.1+cpu, which has no CUDA", "torch==2.14.1+cu130")));
  system.driver.reset();
  EXPECT_THAT(examined(system, context), Contains(finding(Severity::kOk, "PyTorch 2.14.1+cpu")));
}

TEST(Bundle, HoldsTheFactsAndNoNames) {
  FakeSystem system = healthy();
  system.driver->devices[0].processes = std::vector<NvmlProcess>{{4711, 1 << 20}};
  system.files["/proc/4711/comm"] = "secret_project\n";
  system.files["/proc/sys/kernel/hostname"] = "annas-laptop\n";
  system.files["/proc/version"] = "Linux version 6.1.0 on annas-laptop\n";
  system.files["/proc/self/cgroup"] = "0::/docker/0123456789abcdef0123456789abcdef0123456789abcdef\n";
  system.variables["HOME"] = "/home/anna";
  system.variables["USER"] = "anna";
  system.variables["LD_LIBRARY_PATH"] = "/home/anna/lib";
  system.variables["CUDA_VISIBLE_DEVICES"] = "GPU-8932f937";
  system.variables["AWS_SECRET_ACCESS_KEY"] = "topsecret";
  DoctorContext context;
  context.vramwise_version = "0.1.0";
  const std::string text = make_bundle(*probe(system), system, context);
  for (const char* name : {"8932f937", "secret_project", "4711", "anna", "topsecret", "0123456789abcdef"}) {
    EXPECT_THAT(text, Not(HasSubstr(name)));
  }
  const auto bundle = parse_json(text, "bundle");
  ASSERT_TRUE(bundle.ok());
  EXPECT_EQ(bundle->at("vramwise_version"), "0.1.0");
  EXPECT_TRUE(bundle->at("torch_version").is_null());
  EXPECT_EQ(bundle->at("detect").at("gpus").at(0).at("uuid"), "GPU-#1");
  EXPECT_EQ(bundle->at("environment").at("CUDA_VISIBLE_DEVICES"), "GPU-#1...") << "the same card, by its prefix";
  EXPECT_EQ(bundle->at("environment").at("LD_LIBRARY_PATH"), "~/lib");
  EXPECT_EQ(bundle->at("files").at("/proc/version"), "Linux version 6.1.0 on <host>\n");
  EXPECT_EQ(bundle->at("files").at("/proc/self/cgroup"), "0::/docker/<id>\n");
  EXPECT_EQ(bundle->at("detect").at("gpus").at(0).at("memory").at("nvml_total_bytes"), Bytes::mib(24564).count());
}

}  // namespace
}  // namespace vramwise

// The calls themselves, against C functions of NVML's ABI that stand in for the library: the right symbols, struct
// versions and sizes, older versions where newer symbols are missing.
#include "device/nvml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

namespace vramwise {
namespace {

using ::testing::HasSubstr;

// What the stand-ins answer; they are plain functions, so this is global to the test.
struct Library {
  std::set<std::string> missing;
  bool shut_down = false;
  unsigned int memory_version = 0;
  unsigned long long total = 0;
  unsigned int process_count = 0;
} library;

struct MemoryV2 {
  unsigned int version;
  unsigned long long total, reserved, free, used;
};
struct MemoryV1 {
  unsigned long long total, free, used;
};
struct ProcessV2 {
  unsigned int pid;
  unsigned long long used;
  unsigned int gpu_instance, compute_instance;
};
struct ProcessV1 {
  unsigned int pid;
  unsigned long long used;
};

int init() { return 0; }
int shut_down() {
  library.shut_down = true;
  return 0;
}
int driver_version(char* text, unsigned int size) {
  std::strncpy(text, "580.95.05", size);
  return 0;
}
int cuda_version(int* version) {
  *version = 13000;
  return 0;
}
int count(unsigned int* number) {
  *number = 2;
  return 0;
}
int handle(unsigned int index, void** device) {
  if (index == 1) return kNvmlGpuIsLost;
  *device = &library;
  return 0;
}
int name(void* device, char* text, unsigned int size) {
  if (device != &library) return kNvmlInvalidArgument;
  std::strncpy(text, "NVIDIA GeForce RTX 4090", size);
  return 0;
}
int memory_v2(void*, MemoryV2* memory) {
  library.memory_version = memory->version;
  memory->total = library.total;
  memory->reserved = 346ULL << 20;
  memory->free = library.total / 2;
  return 0;
}
int memory_v1(void*, MemoryV1* memory) {
  memory->total = library.total;
  memory->free = library.total / 4;
  memory->used = library.total - memory->free;
  return 0;
}
int capability(void*, int* major, int* minor) {
  *major = 8;
  *minor = 9;
  return 0;
}
int ecc(void*, unsigned int*, unsigned int*) { return kNvmlNotSupported; }
int mig(void*, unsigned int* current, unsigned int* pending) {
  *current = 0;
  *pending = 1;
  return 0;
}
template <typename Process>
int processes(void*, unsigned int* number, Process* list) {
  if (*number < library.process_count) {
    *number = library.process_count;
    return kNvmlInsufficientSize;
  }
  *number = library.process_count;
  for (unsigned int i = 0; i < library.process_count; ++i) {
    list[i].pid = 100 + i;
    list[i].used = i == 0 ? ~0ULL : i << 20;
  }
  return 0;
}
int no_processes(void*, unsigned int* number, void*) {
  *number = 0;
  return 0;
}
int pci(void*, char* raw) {
  std::memcpy(raw + 36, "00000000:01:00.0", 17);
  return 0;
}

void* look_up(const char* symbol) {
  static const std::map<std::string, void*> kSymbols = {
      {"nvmlInit_v2", reinterpret_cast<void*>(&init)},
      {"nvmlInit", reinterpret_cast<void*>(&init)},
      {"nvmlShutdown", reinterpret_cast<void*>(&shut_down)},
      {"nvmlSystemGetDriverVersion", reinterpret_cast<void*>(&driver_version)},
      {"nvmlSystemGetCudaDriverVersion_v2", reinterpret_cast<void*>(&cuda_version)},
      {"nvmlSystemGetCudaDriverVersion", reinterpret_cast<void*>(&cuda_version)},
      {"nvmlDeviceGetCount_v2", reinterpret_cast<void*>(&count)},
      {"nvmlDeviceGetHandleByIndex_v2", reinterpret_cast<void*>(&handle)},
      {"nvmlDeviceGetName", reinterpret_cast<void*>(&name)},
      {"nvmlDeviceGetMemoryInfo_v2", reinterpret_cast<void*>(&memory_v2)},
      {"nvmlDeviceGetMemoryInfo", reinterpret_cast<void*>(&memory_v1)},
      {"nvmlDeviceGetCudaComputeCapability", reinterpret_cast<void*>(&capability)},
      {"nvmlDeviceGetEccMode", reinterpret_cast<void*>(&ecc)},
      {"nvmlDeviceGetMigMode", reinterpret_cast<void*>(&mig)},
      {"nvmlDeviceGetPciInfo_v3", reinterpret_cast<void*>(&pci)},
      {"nvmlDeviceGetComputeRunningProcesses_v3", reinterpret_cast<void*>(&processes<ProcessV2>)},
      {"nvmlDeviceGetComputeRunningProcesses", reinterpret_cast<void*>(&processes<ProcessV1>)},
      {"nvmlDeviceGetGraphicsRunningProcesses", reinterpret_cast<void*>(&no_processes)},
  };
  const auto found = kSymbols.find(symbol);
  return found == kSymbols.end() || library.missing.contains(symbol) ? nullptr : found->second;
}

class NvmlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    library = Library{};
    library.total = 24564ULL << 20;
    nvml_ = make_nvml(look_up, "libnvidia-ml.so.1");
    ASSERT_EQ(nvml_->start(), kNvmlSuccess);
    device_ = nvml_->device(0).value;
  }
  std::unique_ptr<Nvml> nvml_;
  NvmlDevice device_ = nullptr;
};

TEST_F(NvmlTest, AnswersTextsAndNumbers) {
  EXPECT_EQ(nvml_->driver_version().optional(), "580.95.05");
  EXPECT_EQ(nvml_->cuda_version().optional(), 13000);
  EXPECT_EQ(nvml_->device_count().optional(), 2);
  EXPECT_EQ(nvml_->name(device_).optional(), "NVIDIA GeForce RTX 4090");
  EXPECT_EQ(nvml_->pci_id(device_).optional(), "00000000:01:00.0");
  EXPECT_EQ(nvml_->compute_capability(device_).optional(), std::pair(8, 9));
  EXPECT_EQ(nvml_->mig(device_).optional(), false) << "the mode now, not the pending one";
}

TEST_F(NvmlTest, RefusalsKeepTheirCode) {
  EXPECT_EQ(nvml_->device(1).code, kNvmlGpuIsLost);
  EXPECT_EQ(nvml_->ecc(device_).code, kNvmlNotSupported);
  EXPECT_FALSE(nvml_->ecc(device_).optional());
}

TEST_F(NvmlTest, AMissingSymbolIsARefusal) {
  EXPECT_EQ(nvml_->uuid(device_).code, kNvmlFunctionNotFound);
  EXPECT_FALSE(nvml_->core_count(device_).optional());
  EXPECT_FALSE(nvml_->display_active(device_).optional());
  library.missing = {"nvmlDeviceGetCount_v2"};
  EXPECT_EQ(nvml_->device_count().code, kNvmlFunctionNotFound);
}

TEST_F(NvmlTest, MemoryV2CarriesItsStructVersion) {
  const auto memory = nvml_->memory(device_);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(library.memory_version, 40U | 2U << 24U);
  EXPECT_EQ(memory.value.total, 24564LL << 20);
  EXPECT_EQ(memory.value.reserved, 346LL << 20);
}

TEST_F(NvmlTest, MemoryV1WhereV2IsMissing) {
  library.missing = {"nvmlDeviceGetMemoryInfo_v2"};
  const auto memory = nvml_->memory(device_);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory.value.free, (24564LL << 20) / 4);
  EXPECT_FALSE(memory.value.reserved);
}

TEST_F(NvmlTest, ATotalOfZeroIsNotAvailable) {
  library.total = 0;
  EXPECT_EQ(nvml_->memory(device_).code, kNvmlNotSupported);
}

TEST_F(NvmlTest, LongProcessListsAreAskedForAgain) {
  library.process_count = 100;
  const auto list = nvml_->processes(device_);
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list.value.size(), 100U);
  EXPECT_FALSE(list.value[0].used_bytes) << "NVML_VALUE_NOT_AVAILABLE";
  EXPECT_EQ(list.value[99].used_bytes, 99LL << 20);
}

TEST_F(NvmlTest, TheOldProcessStructWhereOnlyThatExists) {
  library.missing = {"nvmlDeviceGetComputeRunningProcesses_v3"};
  library.process_count = 3;
  const auto list = nvml_->processes(device_);
  ASSERT_EQ(list.value.size(), 3U);
  EXPECT_EQ(list.value[2].pid, 102);
  EXPECT_EQ(list.value[2].used_bytes, 2LL << 20);
}

TEST_F(NvmlTest, ShutsDownOnlyWhatItStarted) {
  nvml_.reset();
  EXPECT_TRUE(library.shut_down);
  library.shut_down = false;
  make_nvml(look_up, "").reset();
  EXPECT_FALSE(library.shut_down);
}

TEST(NvmlCodeName, KnownAndUnknown) {
  EXPECT_EQ(nvml_code_name(kNvmlGpuIsLost), "NVML_ERROR_GPU_IS_LOST (15)");
  EXPECT_THAT(nvml_code_name(12345), HasSubstr("12345"));
}

}  // namespace
}  // namespace vramwise

// cuDNN serializes a device's properties to JSON, so that plans can be made where the device is not ("Deviceless
// Ahead-of-time Compilation" in cuDNN's documentation). The keys are those that cuDNN 9.24 names when one is missing;
// each stands for the CUDA attribute of that name. Earlier versions know fewer, and overlook the rest.
#include "emulator/dnn/device_description.h"

#include "base/json.h"
#include "emulator/cuda/attributes.h"

namespace vramwise::emulator {

std::string dnn_device_description(const Machine& machine, int device) {
  const CardSpec& card = machine.card(device);
  const auto attribute = [&](int number) { return device_attribute(machine, device, number).value_or(0); };
  const Json json = {
      {"cudaDeviceId", device},
      {"deviceName", card.name},
      {"deviceVer", card.capability() * 10},
      {"driverVer", machine.spec().cuda_driver_version},
      {"maxGridSize", {attribute(5), attribute(6), attribute(7)}},
      {"maxBlockSize", {attribute(2), attribute(3), attribute(4)}},
      {"regsPerBlock", attribute(12)},
      {"multiProcessorCount", card.sm_count},
      {"smCountOrigin", 0},  // CUDNN_SM_COUNT_ORIGIN_FULL_DEVICE
      {"warpSize", attribute(10)},
      {"maxSharedMemoryPerBlock", attribute(8)},
      {"maxSharedMemoryPerBlockOptin", attribute(97)},
      {"reservedSharedMemoryPerBlock", attribute(111)},
      {"maxRegistersPerSM", attribute(82)},
      {"maxCtasPerSM", attribute(106)},
      {"maxThreadsPerBlock", attribute(1)},
      {"maxThreadsPerSM", attribute(39)},
      {"pciDeviceId", attribute(34)},
      {"isTccDriver", 0},
      {"supportCoopLaunch", attribute(95)},
      {"totalGlobalMem", card.total.count()},
      {"smClockRateKHz", card.clock_khz},
      {"memClockRateKHz", card.memory_clock_khz},
      {"l2CacheSize", card.l2_cache.count()},
  };
  return json.dump();
}

}  // namespace vramwise::emulator

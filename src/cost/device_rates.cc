// Peak rates of the catalogue times the fractions of gpus/data/rates.csv.
#include "cost/device_rates.h"

#include <algorithm>

#include "gpus/nccl_memory.h"
#include "gpus/rates.h"

namespace vramwise {
namespace {

/// One direction of what stands between two such cards, as a ring of NCCL reaches it: NVLink only where every card has
/// it to every other one.
std::optional<double> link_rate(const GpuModel& model) {
  const ComputeCapability capability = model.compute_capability.value_or(ComputeCapability{});
  const auto reached = [&](RateKind kind) { return achieved_fraction(kind, model.compute_capability).fraction; };
  const NcclLink link = usual_nccl_link(model.name, capability.major * 10 + capability.minor);
  if (link == NcclLink::kNvSwitch && model.nvlink_gb_s)
    return *model.nvlink_gb_s / 2 * 1e9 * reached(RateKind::kNvlinkRing);
  if (!model.pcie) return std::nullopt;
  return model.pcie->gb_s() * 1e9 * reached(RateKind::kPcieRing);
}

}  // namespace

DeviceRates device_rates(const GpuModel& model) {
  DeviceRates rates;
  const auto reached = [&](RateKind kind) { return achieved_fraction(kind, model.compute_capability).fraction; };
  // Without bf16 units PyTorch's 16-bit products still run in fp16's.
  const std::optional<double> half = model.tflops.fp16 ? model.tflops.fp16 : model.tflops.bf16;
  const std::optional<double> single = model.tflops.fp32;
  if (model.units) rates.units = *model.units;
  if (!single || !model.bandwidth_gb_s) return rates;
  rates.matmul_fp32_flop_s = *single * 1e12 * reached(RateKind::kMatmulFp32);
  rates.attention_fp32_flop_s = *single * 1e12 * reached(RateKind::kAttentionFp32);
  // A card without matrix units multiplies 16-bit numbers as fp32 does (PyTorch accumulates in fp32).
  const double matrix = std::max(half.value_or(*single), *single) * 1e12;
  rates.matmul_16bit_flop_s = matrix * reached(RateKind::kMatmul16Bit);
  rates.attention_16bit_flop_s = matrix * reached(RateKind::kAttention16Bit);
  rates.bandwidth_byte_s = *model.bandwidth_gb_s * 1e9 * reached(RateKind::kBandwidth);
  if (model.pcie) rates.pcie_byte_s = model.pcie->gb_s() * 1e9 * reached(RateKind::kPcie);
  rates.link_byte_s = link_rate(model).value_or(rates.link_byte_s);
  rates.is_known = true;
  rates.source = "the catalogue: peak rates, and what kernels reach of them";
  return rates;
}

tape::Hardware hardware_of(const GpuModel& model) {
  const tape::Hardware assumed;
  const int capability = model.compute_capability
                             ? model.compute_capability->major * 10 + model.compute_capability->minor
                             : assumed.capability;
  tape::Hardware hardware = tape::Hardware::of(capability, model.units.value_or(assumed.sm_count));
  balance(hardware, device_rates(model));
  return hardware;
}

void balance(tape::Hardware& hardware, const DeviceRates& rates) {
  hardware.flops_per_byte_16bit = rates.matmul_16bit_flop_s / rates.bandwidth_byte_s;
  hardware.flops_per_byte_fp32 = rates.matmul_fp32_flop_s / rates.bandwidth_byte_s;
}

DeviceRates cpu_rates(std::int64_t threads) {
  DeviceRates rates;
  const double count = static_cast<double>(std::max<std::int64_t>(1, threads));
  rates.matmul_fp32_flop_s = 40e9 * count;
  rates.matmul_16bit_flop_s = 40e9 * count;
  rates.attention_fp32_flop_s = 20e9 * count;
  rates.attention_16bit_flop_s = 20e9 * count;
  rates.bandwidth_byte_s = 10e9;
  rates.pcie_byte_s = 1e9;  // the mapped file that offloaded states lie in
  rates.host_byte_s = 10e9;
  rates.launch_s = 1e-6;
  rates.shortest_kernel_s = 1e-6;
  rates.units = 0;
  rates.source = "not known: round figures for a CPU";
  return rates;
}

}  // namespace vramwise

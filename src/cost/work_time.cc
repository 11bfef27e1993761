// See work_time.h.
#include "cost/work_time.h"

namespace vramwise {

double seconds_of(const tape::Work& work, const DeviceRates& rates, Precision precision) {
  const double kernels = static_cast<double>(work.kernels);
  const double busy = work.occupied_16bit_flops / rates.matmul_16bit_flop_s +
                      work.occupied_fp32_flops / rates.matmul_fp32_flop_s +
                      work.attention_flops / rates.attention_flop_s(precision) +
                      static_cast<double>(work.bytes_moved) / rates.bandwidth_byte_s;
  return std::max(busy + kernels * rates.shortest_kernel_s, kernels * rates.launch_s);
}

}  // namespace vramwise

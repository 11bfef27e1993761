// Keys carry the units that people measure in; the rates have base units.
#include "cost/calibration.h"

#include <fmt/format.h>

#include "base/json.h"

namespace vramwise {
namespace {

struct Figure {
  const char* key;
  double unit;
  double DeviceRates::* member;
};

constexpr Figure kFigures[] = {{"matmul_fp32_tflop_s", 1e12, &DeviceRates::matmul_fp32_flop_s},
                               {"matmul_16bit_tflop_s", 1e12, &DeviceRates::matmul_16bit_flop_s},
                               {"attention_fp32_tflop_s", 1e12, &DeviceRates::attention_fp32_flop_s},
                               {"attention_16bit_tflop_s", 1e12, &DeviceRates::attention_16bit_flop_s},
                               {"bandwidth_gb_s", 1e9, &DeviceRates::bandwidth_byte_s},
                               {"pcie_gb_s", 1e9, &DeviceRates::pcie_byte_s},
                               {"link_gb_s", 1e9, &DeviceRates::link_byte_s},
                               {"host_gb_s", 1e9, &DeviceRates::host_byte_s},
                               {"launch_us", 1e-6, &DeviceRates::launch_s},
                               {"shortest_kernel_us", 1e-6, &DeviceRates::shortest_kernel_s}};

}  // namespace

Result<DeviceRates> calibrated(DeviceRates rates, const Json& json) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string schema, json_get<std::string>(json, "schema"));
  if (schema != "vramwise.calibration")
    return usage_error(fmt::format("the calibration's schema is \"{}\", not \"vramwise.calibration\"", schema));
  for (const Figure& figure : kFigures) {
    VRAMWISE_ASSIGN_OR_RETURN(const double value,
                              json_get_or<double>(json, figure.key, rates.*figure.member / figure.unit));
    if (!(value > 0)) return usage_error(fmt::format("calibration: {} must be above 0", figure.key));
    rates.*figure.member = value * figure.unit;
  }
  rates.is_known = true;
  rates.source = "the calibration file";
  return rates;
}

}  // namespace vramwise

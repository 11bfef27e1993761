// Residuals of docs/accuracy.md ("Resident memory on the CPU"): (predicted - measured) / measured, in percent. No run
// of `vramwise train` was measured on a GPU; runs on emulated cards are no measurement of one.
#include "report/risk.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/json.h"
#include "base/units.h"

namespace vramwise {
namespace {

constexpr int kFewest = 10;
constexpr std::array kCpuErrors = {-0.39, -0.33, -0.28, -0.44, -0.57, -1.37, -0.49, -0.40, -0.69, -0.85, -0.59,
                                   -0.57, -0.38, -0.66, -0.35, -0.24, -0.22, -1.49, -0.41, -0.29, -0.33};

}  // namespace

Risk memory_risk(Backend backend) {
  Risk risk;
  if (backend != Backend::kCpu) return risk;
  risk.runs = static_cast<int>(kCpuErrors.size());
  if (risk.runs < kFewest) return risk;
  const auto [least, most] = std::minmax_element(kCpuErrors.begin(), kCpuErrors.end());
  risk.low = 1 / (1 + *most / 100);
  risk.high = 1 / (1 + *least / 100);
  return risk;
}

std::string risk_text(const Plan& plan) {
  const CardPlan& card = plan.cards.front();
  const Risk risk = memory_risk(card.card.backend);
  if (!risk.low) {
    return fmt::format(
        "Risk: {} runs of this trainer were measured on a GPU, too few for an interval; what is left of the budget is "
        "the safety margin's {} MB and {}",
        risk.runs, format_mib(plan.request.safety_margin), format_size(card.usable - card.ledger.device));
  }
  const auto scaled = [&](double factor) {
    return format_size(Bytes(static_cast<std::int64_t>(static_cast<double>(card.ledger.device.count()) * factor)));
  };
  return fmt::format("Risk: between {} and {} by {} measured runs ({:.0f} % of such runs lie within)",
                     scaled(*risk.low), scaled(*risk.high), risk.runs, 100 * risk.coverage());
}

Json risk_json(const Plan& plan) {
  const Risk risk = memory_risk(plan.cards.front().card.backend);
  return {{"measured_runs", risk.runs},
          {"low", risk.low ? Json(*risk.low) : Json()},
          {"high", risk.high ? Json(*risk.high) : Json()},
          {"coverage", risk.low ? Json(risk.coverage()) : Json()}};
}

}  // namespace vramwise

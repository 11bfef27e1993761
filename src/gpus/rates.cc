// data/rates.csv read and looked up; the sources stand in the table itself.
#include "gpus/rates.h"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "base/units.h"
#include "gpus/csv.h"

namespace vramwise {

namespace internal {
extern const std::string_view kRatesCsv;
}

namespace {

constexpr std::pair<std::string_view, RateKind> kKinds[] = {{"matmul_16bit", RateKind::kMatmul16Bit},
                                                            {"matmul_fp32", RateKind::kMatmulFp32},
                                                            {"attention_16bit", RateKind::kAttention16Bit},
                                                            {"attention_fp32", RateKind::kAttentionFp32},
                                                            {"bandwidth", RateKind::kBandwidth},
                                                            {"pcie", RateKind::kPcie},
                                                            {"nvlink_ring", RateKind::kNvlinkRing},
                                                            {"pcie_ring", RateKind::kPcieRing}};

std::optional<RateKind> kind_of(std::string_view word) {
  for (const auto& [name, kind] : kKinds) {
    if (word == name) return kind;
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<RateFraction>> parse_rate_table(std::string_view csv) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto rows, parse_csv(csv));
  if (rows.empty() || rows[0] != std::vector<std::string>{"capability", "what", "fraction", "kind", "document"}) {
    return world_error("the table of rates must have the columns capability, what, fraction, kind, document");
  }
  std::vector<RateFraction> table;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const auto bad = [&](const char* column) {
      return world_error(fmt::format("table of rates, row {}, {}", i + 1, column));
    };
    RateFraction row;
    row.kind = rows[i][3];
    row.document = rows[i][4];
    row.capability = parse_compute_capability(rows[i][0]);
    if (rows[i][0] != "any" && !row.capability) return bad("capability");
    const std::optional<RateKind> what = kind_of(rows[i][1]);
    if (!what) return bad("what");
    row.what = *what;
    const std::optional<double> fraction = parse_number(rows[i][2]);
    if (!fraction || *fraction <= 0 || *fraction > 1) return bad("fraction");
    row.fraction = *fraction;
    if (row.document.empty()) return bad("document");
    table.push_back(std::move(row));
  }
  return table;
}

const std::vector<RateFraction>& rate_fractions() {
  static const std::vector<RateFraction> kTable = parse_rate_table(internal::kRatesCsv).value();
  return kTable;
}

const RateFraction& achieved_fraction(RateKind what, std::optional<ComputeCapability> capability) {
  const RateFraction* best = nullptr;
  int best_distance = 1000;
  for (const RateFraction& row : rate_fractions()) {
    if (row.what != what) continue;
    int distance = 100;  // the row for any
    if (row.capability) {
      if (!capability || row.capability->major != capability->major) continue;
      distance = std::abs(row.capability->minor - capability->minor);
    }
    if (distance >= best_distance) continue;
    best = &row;
    best_distance = distance;
  }
  VRAMWISE_CHECK(best != nullptr);
  return *best;
}

}  // namespace vramwise

#include "gpus/rates.h"

#include <gtest/gtest.h>

namespace vramwise {
namespace {

TEST(Rates, EveryKindHasARowForAnyCard) {
  for (const RateKind kind : {RateKind::kMatmul16Bit, RateKind::kMatmulFp32, RateKind::kAttention16Bit,
                              RateKind::kAttentionFp32, RateKind::kBandwidth, RateKind::kPcie}) {
    const RateFraction& row = achieved_fraction(kind, std::nullopt);
    EXPECT_FALSE(row.capability);
    EXPECT_GT(row.fraction, 0.2);
  }
}

TEST(Rates, ACapabilityTakesItsOwnRowThenTheNearestOfItsMajorNumber) {
  EXPECT_DOUBLE_EQ(achieved_fraction(RateKind::kMatmul16Bit, ComputeCapability{8, 0}).fraction, 0.859);
  EXPECT_EQ(achieved_fraction(RateKind::kMatmul16Bit, ComputeCapability{8, 7}).capability->minor, 6);
  EXPECT_FALSE(achieved_fraction(RateKind::kMatmul16Bit, ComputeCapability{12, 0}).capability);
}

TEST(Rates, ATableWithoutASourceIsRefused) {
  const std::string head = "capability,what,fraction,kind,document\n";
  EXPECT_TRUE(parse_rate_table(head + "8.0,bandwidth,0.9,measured,somewhere\n").ok());
  EXPECT_FALSE(parse_rate_table(head + "8.0,bandwidth,0.9,measured,\n").ok());
  EXPECT_FALSE(parse_rate_table(head + "8.0,bandwidth,1.2,measured,somewhere\n").ok());
  EXPECT_FALSE(parse_rate_table(head + "8,bandwidth,0.9,measured,somewhere\n").ok());
  EXPECT_FALSE(parse_rate_table(head + "8.0,speed,0.9,measured,somewhere\n").ok());
}

}  // namespace
}  // namespace vramwise

#include "base/result.h"

#include <gtest/gtest.h>

namespace vramwise {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return usage_error("odd number", "Give an even one.");
  return n / 2;
}

Result<int> quarter(int n) {
  VRAMWISE_ASSIGN_OR_RETURN(const int first, half(n));
  return half(first);
}

TEST(Result, CarriesValueOrError) {
  EXPECT_EQ(quarter(12).value(), 3);
  const Result<int> failed = quarter(6);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kUsage);
  EXPECT_EQ(failed.error().remedy, "Give an even one.");
}

TEST(ResultDeathTest, TakingTheValueOfAnErrorIsOurBug) { EXPECT_DEATH(half(1).value(), "odd number"); }

}  // namespace
}  // namespace vramwise

#include "report/verified_text.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace vramwise {
namespace {

Json run_of(std::int64_t measured) {
  const Json card = {{"index", 0}, {"measured_bytes", measured}, {"predicted_bytes", std::int64_t{1} << 30}};
  return {{"verdict", "fits"}, {"cards", Json::array({card})}};
}

TEST(VerifiedText, SaysInALineWhetherTheBytesAreThose) {
  const Json same = run_of(std::int64_t{1} << 30), more = run_of((std::int64_t{1} << 30) + (1 << 25));
  EXPECT_TRUE(is_as_predicted(same));
  EXPECT_FALSE(is_as_predicted(more));
  EXPECT_EQ(verified_text(same), "Verified on emulated card 0: fits, 1.00 GiB measured, as predicted to the byte\n");
  EXPECT_EQ(verified_text(more),
            "Verified on emulated card 0: fits, 1.03 GiB measured, 1.00 GiB predicted (-3.03 %)\n");
}

TEST(VerifiedText, NoCardHasRun) {
  EXPECT_FALSE(is_as_predicted({{"verdict", "no CUDA"}, {"cards", Json::array()}}));
  EXPECT_EQ(verified_text({{"verdict", "no CUDA"}}), "Verified on emulated cards: no CUDA\n");
  EXPECT_EQ(verified_text(Json()), "");
}

}  // namespace
}  // namespace vramwise

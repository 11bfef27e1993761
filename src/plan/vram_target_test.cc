#include "plan/vram_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/guide_table.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

TEST(VramTarget, ReadsNumbersAsGib) {
  const VramTarget target = parse_vram("20.5").value();
  EXPECT_EQ(target.kind, VramTarget::Kind::kCustom);
  EXPECT_EQ(target.total, Bytes::mib(20992));
  EXPECT_EQ(parse_vram("15.976").value().total.count(), 17154099380);
}

TEST(VramTarget, PresetsAreRowsAndOtherUnitsAreNumbers) {
  EXPECT_EQ(parse_vram("16gb").value().kind, VramTarget::Kind::kPreset);
  EXPECT_EQ(parse_vram("16GB").value().kind, VramTarget::Kind::kPreset);
  EXPECT_EQ(parse_vram("16").value().kind, VramTarget::Kind::kCustom);
  const VramTarget other = parse_vram("20gb").value();
  EXPECT_EQ(other.kind, VramTarget::Kind::kCustom);
  EXPECT_EQ(other.total, Bytes::gib(20));
  EXPECT_THAT(other.note, HasSubstr("no preset \"20gb\""));
}

TEST(VramTarget, RefusesWhatIsNoAmount) {
  for (const char* bad : {"abc", "", "0", "-3", "1e9", "nan", "gb", "24 GB of it", "0x10"}) {
    const auto result = parse_vram(bad);
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_EQ(result.error().code, ErrorCode::kUsage);
    EXPECT_FALSE(result.error().remedy.empty());
  }
}

TEST(VramTarget, MarginIsMebibytes) {
  EXPECT_EQ(parse_safety_margin("1024").value(), Bytes::gib(1));
  EXPECT_EQ(parse_safety_margin("0").value(), Bytes());
  EXPECT_FALSE(parse_safety_margin("-1").ok());
  EXPECT_FALSE(parse_safety_margin("1GB").ok());
}

TEST(GuideTable, RowsServeTargetsUpToTheirLimit) {
  struct Case {
    Bytes target;
    std::int64_t micro_batch = 0, seq_len = 0, accumulation = 0;
    bool checkpointing = false;
  };
  for (const Case& c : {Case{Bytes::gib(8), 1, 256, 16, true}, Case{Bytes::mib(8704), 2, 512, 8, true},
                        Case{Bytes::gib(16), 2, 512, 8, true}, Case{Bytes::mib(16896), 4, 1024, 4, false},
                        Case{Bytes::gib(24), 4, 1024, 4, false}, Case{Bytes::mib(24577), 8, 1024, 2, false},
                        Case{Bytes::gib(33), 12, 2048, 2, false}, Case{Bytes::gib(640), 12, 2048, 2, false}}) {
    const GuideRow& row = guide_row(c.target);
    EXPECT_EQ(row.micro_batch, c.micro_batch) << c.target.in_gib();
    EXPECT_EQ(row.seq_len, c.seq_len);
    EXPECT_EQ(row.gradient_accumulation_steps, c.accumulation);
    EXPECT_EQ(row.activation_checkpointing, c.checkpointing);
  }
}

}  // namespace
}  // namespace vramwise

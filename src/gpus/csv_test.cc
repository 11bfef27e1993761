#include "gpus/csv.h"

#include <gtest/gtest.h>

namespace vramwise {
namespace {

using Rows = std::vector<std::vector<std::string>>;

TEST(Csv, ReadsQuotesCommasAndBlankLines) {
  const auto rows = parse_csv("a,b\n1,\"x, \"\"y\"\"\"\r\n\n,\n\"line\nbreak\",2");
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(*rows, (Rows{{"a", "b"}, {"1", "x, \"y\""}, {"", ""}, {"line\nbreak", "2"}}));
}

TEST(Csv, EmptyTextHasNoRows) { EXPECT_TRUE(parse_csv("")->empty()); }

TEST(Csv, ErrorsNameTheRow) {
  EXPECT_NE(parse_csv("a,b\n1,2\n1\n").error().what.find("row 3"), std::string::npos);
  EXPECT_FALSE(parse_csv("a\n\"open\n").ok());
}

}  // namespace
}  // namespace vramwise

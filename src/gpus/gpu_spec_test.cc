#include "gpus/gpu_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "gpus/gpu_names.h"

namespace vramwise {
namespace {

using testing::HasSubstr;

std::string ids(std::string_view spec) {
  const auto cards = parse_gpu_spec(spec);
  if (!cards.ok()) return "error: " + cards.error().what;
  std::string text;
  for (const GpuModel& card : *cards) text += (text.empty() ? "" : ",") + card.id;
  return text;
}

Error error_of(std::string_view spec) {
  const auto cards = parse_gpu_spec(spec);
  EXPECT_FALSE(cards.ok()) << spec;
  return cards.ok() ? Error{} : cards.error();
}

TEST(GpuSpec, OneCardHoweverItIsWritten) {
  for (const char* name : {"rtx-4090", "RTX 4090", "4090", "NVIDIA GeForce RTX 4090", "geforce-rtx-4090", "rtx4090",
                           " rtx_4090 ", "GeForce 4090"}) {
    EXPECT_EQ(ids(name), "rtx-4090") << name;
  }
  EXPECT_EQ(ids("3090ti"), "rtx-3090-ti");
  EXPECT_EQ(ids("7900xtx"), "rx-7900-xtx");
  EXPECT_EQ(ids("RX 7900 XTX"), "rx-7900-xtx");
  EXPECT_EQ(ids("4090 laptop"), "rtx-4090-laptop");
  EXPECT_EQ(ids("NVIDIA GeForce RTX 4090 Laptop GPU"), "rtx-4090-laptop");
  EXPECT_EQ(ids("gtx1080"), "gtx-1080");
  EXPECT_EQ(ids("rtx-2060"), "rtx-2060");
  EXPECT_EQ(ids("A770"), "arc-a770-16gb");
  EXPECT_EQ(ids("Intel(R) Arc(TM) A770 Graphics"), "arc-a770-16gb");
  EXPECT_EQ(ids("rtx pro 6000"), "rtx-pro-6000-blackwell");
}

TEST(GpuSpec, ShortNamesOfDatacentreCards) {
  EXPECT_EQ(ids("a100-80gb"), "a100-80gb-sxm");
  EXPECT_EQ(ids("A100-SXM4-80GB"), "a100-80gb-sxm");
  EXPECT_EQ(ids("NVIDIA A100 80GB PCIe"), "a100-80gb-pcie");
  EXPECT_EQ(ids("h100"), "h100-80gb-sxm");
  EXPECT_EQ(ids("h100-80gb"), "h100-80gb-sxm");
  EXPECT_EQ(ids("H100 PCIe"), "h100-80gb-pcie");
  EXPECT_EQ(ids("h100-nvl"), "h100-94gb-nvl");
  EXPECT_EQ(ids("h200"), "h200-141gb-sxm");
  EXPECT_EQ(ids("v100-32gb"), "v100-32gb-sxm");
  EXPECT_EQ(ids("mi300x"), "mi300x");
  EXPECT_EQ(ids("gb10"), "gb10");
}

TEST(GpuSpec, ListsAndCounts) {
  EXPECT_EQ(ids("rtx-3090,rtx-3080"), "rtx-3090,rtx-3080-10gb");
  EXPECT_EQ(ids("2xa100-80gb"), "a100-80gb-sxm,a100-80gb-sxm");
  EXPECT_EQ(ids("2 x 4090 , 1*t4"), "rtx-4090,rtx-4090,t4");
  EXPECT_EQ(ids("2x7900xtx"), "rx-7900-xtx,rx-7900-xtx");
  EXPECT_EQ(parse_gpu_spec("128xh100")->size(), 128U);
}

TEST(GpuSpec, BareMemoryIsACardOfUnknownType) {
  const auto cards = parse_gpu_spec("24gb,2x7.5gb,1tb");
  ASSERT_TRUE(cards.ok());
  ASSERT_EQ(cards->size(), 4U);
  const GpuModel& first = cards->front();
  EXPECT_EQ(first.cuda_total, Bytes::gib(24));
  EXPECT_FALSE(first.nvml_total);
  EXPECT_FALSE(first.bandwidth_gb_s);
  EXPECT_EQ(first.vendor, GpuVendor::kUnknown);
  EXPECT_EQ((*cards)[2].cuda_total, Bytes::mib(7680));
  EXPECT_EQ((*cards)[3].cuda_total, Bytes::gib(1024));
}

TEST(GpuSpec, AnotherMemoryMovesBothTotals) {
  const auto cards = parse_gpu_spec("rtx-2060:8gb");
  ASSERT_TRUE(cards.ok());
  const GpuModel& card = cards->front();
  EXPECT_EQ(card.id, "rtx-2060:8gb");
  EXPECT_EQ(ids(card.id), card.id);
  EXPECT_EQ(card.nvml_total, Bytes::mib(8192));
  EXPECT_EQ(card.cuda_total, Bytes::mib(8192 - (6144 - 5934)));  // the reserve of the 6 GB card
  EXPECT_TRUE(card.cuda_total_is_derived);
  EXPECT_EQ(card.units, find_gpu("rtx-2060")->units);
  EXPECT_EQ(parse_gpu_spec("2xrtx-4090:48gb")->back().nvml_total, Bytes::mib(49128));
  EXPECT_EQ(parse_gpu_spec("strix-halo:96gb")->front().cuda_total, Bytes::gib(96));
  EXPECT_GT(parse_gpu_spec("rtx-4090:0.1gb")->front().cuda_total->count(), 0);
}

TEST(GpuSpec, AVariantThatExistsIsTakenAsItIs) {
  EXPECT_EQ(ids("rtx-3080:12gb"), "rtx-3080-12gb");
  EXPECT_EQ(ids("rtx-3080:10gb"), "rtx-3080-10gb");
  EXPECT_EQ(ids("4060-ti:16gb"), "rtx-4060-ti-16gb");
  EXPECT_EQ(ids("rtx-2060:12gb"), "rtx-2060-12gb");
  EXPECT_EQ(ids("a100:80gb"), "a100-80gb-pcie");
}

TEST(GpuSpec, AmbiguousNamesListTheChoices) {
  EXPECT_THAT(error_of("a100").what, HasSubstr("a100-40gb-pcie, a100-40gb-sxm, a100-80gb-pcie, a100-80gb-sxm"));
  EXPECT_THAT(error_of("4060 ti").what, HasSubstr("rtx-4060-ti-8gb, rtx-4060-ti-16gb"));
  EXPECT_THAT(error_of("4060 ti:24gb").what, HasSubstr("rtx-4060-ti-8gb"));
}

TEST(GpuSpec, MisspellingsAreSuggested) {
  EXPECT_THAT(error_of("rtx-4900").remedy, HasSubstr("rtx-4090"));
  EXPECT_THAT(error_of("2xgtx-1080-t").remedy, HasSubstr("gtx-1080"));
  EXPECT_THAT(error_of("b20").remedy, HasSubstr("b200"));
  EXPECT_THAT(error_of("my-card").remedy, HasSubstr("e.g. rtx-4090"));
}

TEST(GpuSpec, RefusesWhatCannotBe) {
  for (const char* spec : {"",
                           "  ",
                           ",",
                           "rtx-4090,",
                           "0xrtx-4090",
                           "99999xrtx-4090",
                           "99999999999999999999xrtx-4090",
                           "0gb",
                           "rtx-4090:0gb",
                           "-3gb",
                           "11tb",
                           "rtx-4090:20000gb",
                           "rtx-4090:",
                           ":8gb",
                           "rtx-4090:big",
                           "24",
                           "2x",
                           "x",
                           "nvidia",
                           "nangb"}) {
    const Error error = error_of(spec);
    EXPECT_EQ(error.code, ErrorCode::kUsage) << spec;
    EXPECT_FALSE(error.what.empty()) << spec;
    EXPECT_FALSE(error.remedy.empty()) << spec;
  }
  EXPECT_THAT(error_of("0xrtx-4090").what, HasSubstr("asks for no card"));
  EXPECT_THAT(error_of("16385xt4").what, HasSubstr("more than 16384"));
  EXPECT_THAT(error_of("16384xt4,t4").what, HasSubstr("more than 16384"));
}

TEST(GpuNames, EveryIdAndEveryFullNameIsUnderstood) {
  for (const GpuModel& model : gpu_catalogue()) {
    EXPECT_EQ(ids(model.id), model.id);
    bool found = false;
    for (const GpuModel* card : gpus_called(model.name)) found = found || card->name == model.name;
    EXPECT_TRUE(found) << model.name;
  }
}

}  // namespace
}  // namespace vramwise

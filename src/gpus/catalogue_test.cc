#include "gpus/catalogue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace vramwise {
namespace {

const GpuSource* source(const std::string& key) {
  for (const GpuSource& candidate : gpu_sources()) {
    if (candidate.key == key) return &candidate;
  }
  return nullptr;
}

/// What a derived CUDA total must be, by the rule of catalogue.h worked out anew from the measured cards.
std::optional<Bytes> derived_total(const GpuModel& card) {
  const auto base = [](const GpuModel& model) {
    return model.nvml_total                  ? model.nvml_total
           : model.vendor == GpuVendor::kAmd ? std::optional(Bytes::mib(std::llround(model.memory_gb * 1024)))
                                             : std::nullopt;
  };
  if (!base(card)) return std::nullopt;
  double nearest = 1e9;
  Bytes reserve(-1);
  for (const bool same_target : {true, false}) {
    for (const GpuModel& other : gpu_catalogue()) {
      if (!other.cuda_total || other.cuda_total_is_derived || other.unified_memory || !base(other)) continue;
      if (other.vendor != card.vendor) continue;
      if (same_target ? other.target != card.target : other.architecture != card.architecture) continue;
      const double distance = std::fabs(other.memory_gb - card.memory_gb);
      const Bytes its_reserve = *base(other) - *other.cuda_total;
      if (distance < nearest || (distance == nearest && its_reserve > reserve)) reserve = its_reserve;
      nearest = std::min(nearest, distance);
    }
    if (reserve.count() >= 0) return *base(card) - reserve;
  }
  return std::nullopt;
}

TEST(Catalogue, HoldsEnoughCardsOfEveryKind) {
  const std::vector<GpuModel>& cards = gpu_catalogue();
  EXPECT_GE(cards.size(), 120U);
  std::set<GpuVendor> vendors;
  std::set<GpuClass> kinds;
  std::set<std::string> ids;
  for (const GpuModel& card : cards) {
    EXPECT_TRUE(ids.insert(card.id).second) << card.id << " stands twice";
    vendors.insert(card.vendor);
    kinds.insert(card.kind);
  }
  EXPECT_EQ(vendors.size(), 3U);
  EXPECT_EQ(kinds.size(), 6U);
}

TEST(Catalogue, TotalsAreThoseOfTheirMemory) {
  for (const GpuModel& card : gpu_catalogue()) {
    SCOPED_TRACE(card.id);
    EXPECT_GE(card.memory_gb, 4);
    EXPECT_LE(card.memory_gb, 300);
    const Bytes sold = Bytes::mib(std::llround(card.memory_gb * 1024));
    if (card.nvml_total) {
      EXPECT_LE(*card.nvml_total, sold);
      EXPECT_GE(*card.nvml_total * 10, sold * 9);  // ECC and the firmware take less than a tenth
    }
    if (card.cuda_total) {
      EXPECT_LE(*card.cuda_total, card.nvml_total.value_or(sold));
      EXPECT_GE(*card.cuda_total * 10, card.nvml_total.value_or(sold) * 9);
    }
    if (card.vendor == GpuVendor::kNvidia && !card.unified_memory && card.nvml_total) {
      EXPECT_TRUE(card.cuda_total);
    }
    if (card.unified_memory) {
      EXPECT_FALSE(card.nvml_total);
    }
    EXPECT_TRUE(card.unified_memory || card.kind != GpuClass::kJetson);
  }
}

TEST(Catalogue, DerivedTotalsFollowTheRule) {
  int derived = 0;
  for (const GpuModel& card : gpu_catalogue()) {
    if (!card.cuda_total_is_derived) continue;
    ++derived;
    EXPECT_EQ(card.cuda_total, derived_total(card)) << card.id;
    EXPECT_EQ(card.sources.cuda, "cuda-rule") << card.id;
  }
  EXPECT_GT(derived, 40);
}

TEST(Catalogue, EveryFigureHasASource) {
  std::set<std::string> used;
  const auto expect_source = [&](const GpuModel& card, bool has_figure, const std::string& key) {
    EXPECT_EQ(has_figure, !key.empty()) << card.id << ' ' << key;
    if (key.empty()) return;
    used.insert(key);
    ASSERT_NE(source(key), nullptr) << card.id << ' ' << key;
    EXPECT_GT(source(key)->document.size(), 20U) << key;
  };
  for (const GpuModel& card : gpu_catalogue()) {
    const GpuRates& rates = card.tflops;
    expect_source(card, true, card.sources.card);
    expect_source(card, card.nvml_total.has_value(), card.sources.nvml);
    expect_source(card, card.cuda_total.has_value(), card.sources.cuda);
    expect_source(card, rates.fp32.has_value(), card.sources.fp32);
    expect_source(card, rates.tf32 || rates.fp16 || rates.bf16 || rates.fp8 || rates.int8, card.sources.matrix);
    expect_source(card, card.nvlink_gb_s.has_value(), card.sources.link);
    const GpuSource* cuda = source(card.sources.cuda);
    if (cuda != nullptr && !card.cuda_total_is_derived) {
      EXPECT_EQ(cuda->kind, "measured") << card.id;
    }
  }
  for (const GpuSource& one : gpu_sources()) {
    EXPECT_TRUE(used.contains(one.key)) << one.key << " is the source of nothing";
    EXPECT_TRUE(one.kind == "vendor" || one.kind == "database" || one.kind == "measured" || one.kind == "derived")
        << one.key;
  }
}

TEST(Catalogue, RatesAreInOrder) {
  const auto at_least = [](const GpuModel& card, std::optional<double> faster, std::optional<double> slower) {
    if (faster && slower) {
      EXPECT_GE(*faster * 1.005, *slower) << card.id;
    }
  };
  for (const GpuModel& card : gpu_catalogue()) {
    const GpuRates& rates = card.tflops;
    at_least(card, rates.tf32, rates.fp32);
    at_least(card, rates.fp16, rates.fp32);
    at_least(card, rates.fp16, rates.tf32);
    at_least(card, rates.bf16, rates.fp16);
    at_least(card, rates.fp8, rates.fp16);
    at_least(card, rates.int8, rates.fp16);
    at_least(card, rates.int8, rates.fp8);
    if (card.compute_capability && *card.compute_capability < ComputeCapability{8, 0}) {
      EXPECT_FALSE(rates.bf16) << card.id;
      EXPECT_FALSE(rates.tf32) << card.id;
    }
    if (card.compute_capability && *card.compute_capability < ComputeCapability{8, 9}) {
      EXPECT_FALSE(rates.fp8) << card.id;
    }
    if (card.bandwidth_gb_s) {
      EXPECT_TRUE(*card.bandwidth_gb_s > 50 && *card.bandwidth_gb_s < 10000) << card.id;
    }
    if (rates.fp32) {
      EXPECT_TRUE(*rates.fp32 > 0.5 && *rates.fp32 < 200) << card.id;
    }
    EXPECT_TRUE(card.units) << card.id;
    // FP32 = units x lanes x 2 x clock: the clock that the figures imply is one that a card can have.
    if (card.vendor == GpuVendor::kNvidia && rates.fp32) {
      const ComputeCapability cc = *card.compute_capability;
      const bool half_width = cc.major == 7 || cc == ComputeCapability{6, 0} || cc == ComputeCapability{8, 0};
      const double ghz = *rates.fp32 * 1e3 / (*card.units * (half_width ? 64 : 128) * 2);
      EXPECT_TRUE(ghz > 0.5 && ghz < 3.2) << card.id << ' ' << ghz;
    }
  }
}

TEST(Catalogue, KnownCardsAsTheirSourcesHaveThem) {
  const GpuModel& rtx = *find_gpu("rtx-4090");
  EXPECT_EQ(rtx.nvml_total, Bytes::mib(24564));
  EXPECT_NEAR(rtx.cuda_total->in_gib(), 23.64, 0.005);
  EXPECT_EQ(rtx.units, 128);
  EXPECT_EQ(rtx.compute_capability, (ComputeCapability{8, 9}));
  EXPECT_NEAR(rtx.pcie->gb_s(), 31.5, 0.1);
  EXPECT_FALSE(rtx.nvlink_gb_s);
  EXPECT_DOUBLE_EQ(*find_gpu("a100-80gb-sxm")->tflops.bf16, 312);
  EXPECT_EQ(find_gpu("gtx-1080")->compute_capability, (ComputeCapability{6, 1}));
  EXPECT_FALSE(find_gpu("gtx-1080")->tflops.bf16);
  EXPECT_TRUE(find_gpu("gb10")->unified_memory);
  EXPECT_EQ(find_gpu("no-such-card"), nullptr);
}

TEST(Catalogue, FindsACardByWhatNvmlCallsIt) {
  EXPECT_EQ(find_by_nvml_name("NVIDIA GeForce RTX 4090")->id, "rtx-4090");
  EXPECT_EQ(find_by_nvml_name("GeForce RTX 2080 Ti")->id, "rtx-2080-ti");  // drivers before 465 leave NVIDIA out
  EXPECT_EQ(find_by_nvml_name("NVIDIA H100 80GB HBM3")->id, "h100-80gb-sxm");
  EXPECT_EQ(find_by_nvml_name("NVIDIA GeForce RTX 3060", Bytes::mib(8192))->id, "rtx-3060-8gb");
  EXPECT_EQ(find_by_nvml_name("NVIDIA GeForce RTX 3060", Bytes::mib(12288))->id, "rtx-3060-12gb");
  EXPECT_EQ(find_by_nvml_name("NVIDIA GeForce RTX 4060 Ti", Bytes::mib(16380))->id, "rtx-4060-ti-16gb");
  EXPECT_EQ(find_by_nvml_name("Orin", Bytes::mib(62827))->id, "jetson-agx-orin-64gb");
  EXPECT_EQ(find_by_nvml_name("NVIDIA GeForce RTX 9999"), nullptr);
  EXPECT_EQ(find_by_nvml_name(""), nullptr);
}

TEST(Catalogue, ParserNamesTheFieldThatIsWrong) {
  const std::string header =
      "id,name,vendor,architecture,class,memory_gb,nvml_total_mib,cuda_total_mib,cuda_origin,units,compute,"
      "bandwidth_gb_s,fp32,tf32,fp16,bf16,fp8,int8,pcie,nvlink_gb_s,unified_memory,src_card,src_nvml,src_cuda,src_fp32,"
      "src_matrix,src_link\n";
  const auto what = [&](const std::string& row) {
    const auto models = parse_gpu_table(header + row);
    return models.ok() ? std::string("fine") : models.error().what;
  };
  EXPECT_EQ(what("a,A,nvidia,ada,consumer,8,,,,20,8.9,,,,,,,,4x16,,0,s,,,,,\n"), "fine");
  EXPECT_NE(what("a,A,nvidia,ada,consumer,8,,,,20,89,,,,,,,,4x16,,0,s,,,,,\n").find("row 2, compute"),
            std::string::npos);
  EXPECT_NE(what("a,A,nvidia,ada,consumer,8,-1,,,20,8.9,,,,,,,,,,0,s,,,,,\n").find("nvml_total_mib"),
            std::string::npos);
  EXPECT_NE(what("a,A,acme,ada,consumer,8,,,,20,8.9,,,,,,,,,,0,s,,,,,\n").find("vendor"), std::string::npos);
  EXPECT_NE(what("a,A,nvidia,ada,consumer,8,,,,20,8.9,,,,,,,,16x,,0,s,,,,,\n").find("pcie"), std::string::npos);
  EXPECT_FALSE(parse_gpu_table("id,name\na,A\n").ok());
  EXPECT_FALSE(parse_gpu_table("").ok());
  EXPECT_FALSE(parse_gpu_sources("a,b\n").ok());
}

}  // namespace
}  // namespace vramwise

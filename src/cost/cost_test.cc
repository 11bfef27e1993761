#include <gtest/gtest.h>

#include "base/json.h"
#include "cost/calibration.h"
#include "cost/collectives.h"
#include "cost/decoder_step.h"
#include "cost/device_rates.h"
#include "cost/work_time.h"

namespace vramwise {
namespace {

const DecoderConfig& medium() {
  static const DecoderConfig kConfig = model_preset("medium").value();
  return kConfig;
}

StepSettings bf16(std::int64_t seq_len = 1024) { return {.seq_len = seq_len, .precision = Precision::kBf16}; }

double pass_seconds(const StepSettings& settings, std::int64_t sequences, const char* card = "a100-80gb-sxm") {
  return DecoderPass(medium(), settings, Backend::kCuda, device_rates(*find_gpu(card))).seconds(sequences);
}

TEST(DeviceRates, AreAPartOfTheCardsPeaks) {
  const DeviceRates a100 = device_rates(*find_gpu("a100-80gb-sxm"));
  EXPECT_TRUE(a100.is_known);
  EXPECT_NEAR(a100.matmul_16bit_flop_s, 0.859 * 312e12, 1e9);
  EXPECT_LT(a100.bandwidth_byte_s, 2039e9);
  EXPECT_FALSE(device_rates(unknown_gpu(Bytes::gib(24))).is_known);
}

TEST(DeviceRates, ACardWithoutMatrixUnitsComputes16BitsAsFp32) {
  const GpuModel& card = *find_gpu("gtx-1080");
  EXPECT_GE(device_rates(card).matmul_16bit_flop_s, 0.7 * *card.tflops.fp32 * 1e12);
}

TEST(Calibration, ReplacesWhatItNames) {
  const DeviceRates before;
  const Json json = {{"schema", "vramwise.calibration"}, {"matmul_16bit_tflop_s", 100.0}, {"launch_us", 4.0}};
  const DeviceRates after = calibrated(before, json).value();
  EXPECT_DOUBLE_EQ(after.matmul_16bit_flop_s, 100e12);
  EXPECT_DOUBLE_EQ(after.launch_s, 4e-6);
  EXPECT_DOUBLE_EQ(after.matmul_fp32_flop_s, before.matmul_fp32_flop_s);
  EXPECT_TRUE(after.is_known);
  EXPECT_FALSE(calibrated(before, Json{{"schema", "other"}}).ok());
  EXPECT_FALSE(calibrated(before, Json{{"schema", "vramwise.calibration"}, {"pcie_gb_s", 0}}).ok());
}

// Single products that others measured on an H100 (OpenXLA, xla/service/gpu/model/matmul_interpolator_data.h: bf16,
// TFLOP/s), which wait for their launch beside what they compute.
TEST(Products, TakeWhatWasMeasuredOnAnH100) {
  struct Measured {
    tape::ProductShape shape;
    double tflop_s = 0;
  };
  constexpr Measured kRows[] = {{{.batch = 1, .rows = 4096, .columns = 4096, .inner = 4096}, 783.3},
                                {{.batch = 2, .rows = 4096, .columns = 4096, .inner = 2048}, 763.0},
                                {{.batch = 4, .rows = 4096, .columns = 4096, .inner = 256}, 503.9},
                                {{.batch = 1, .rows = 4096, .columns = 4096, .inner = 256}, 392.2},
                                {{.batch = 1, .rows = 2048, .columns = 2048, .inner = 2048}, 632.0},
                                {{.batch = 1, .rows = 1024, .columns = 1024, .inner = 2048}, 350.0},
                                {{.batch = 1, .rows = 4096, .columns = 512, .inner = 512}, 238.8},
                                {{.batch = 4, .rows = 256, .columns = 256, .inner = 512}, 41.2}};
  const GpuModel& card = *find_gpu("h100-80gb-sxm");
  const DeviceRates rates = device_rates(card);
  for (const Measured& row : kRows) {
    tape::Work work;
    work.add_product(row.shape, tape::DType::kBFloat16, hardware_of(card));
    const double seconds = seconds_of(work, rates, Precision::kBf16) + 3e-6;
    EXPECT_NEAR(row.shape.flops() / seconds / 1e12 / row.tflop_s, 1, 0.2) << row.tflop_s;
  }
}

TEST(Products, ThoseOfLowRankTakeTheirTraffic) {
  const tape::Hardware card = hardware_of(*find_gpu("a100-80gb-sxm"));
  const tape::ProductShape shape = {.rows = 8192, .columns = 16, .inner = 4096};
  tape::Work work;
  work.add_product(shape, tape::DType::kBFloat16, card);
  EXPECT_EQ(work.occupied_16bit_flops, 0);
  EXPECT_EQ(work.bytes_moved, 2 * (8192 * 4096 + 4096 * 16 + 8192 * 16));
  EXPECT_EQ(work.matmul_flops, 2.0 * 8192 * 16 * 4096);
}

TEST(KernelTimes, TheSlowerOfArithmeticAndTrafficAndNeverLessThanALaunch) {
  DeviceRates rates;
  rates.bandwidth_byte_s = 1e9;
  rates.shortest_kernel_s = 1e-6;
  rates.launch_s = 1e-3;
  KernelTimes times(rates);
  times.add(2e9, 1e9, 1e9);  // 2 s of arithmetic beside 1 s of traffic
  times.move(3e9);
  times.move(1);
  EXPECT_NEAR(times.device_seconds(), 5.000003001, 1e-9);
  KernelTimes small(rates);
  small.move(10, 10);
  EXPECT_NEAR(small.seconds(), 10e-3, 1e-9);  // the host is slower
}

TEST(DecoderPass, TakesLongerWithMoreWork) {
  const double base = pass_seconds(bf16(), 8);
  EXPECT_GT(pass_seconds(bf16(), 16), 1.5 * base);
  EXPECT_GT(pass_seconds(bf16(2048), 8), 2 * base);
  EXPECT_GT(pass_seconds(bf16(), 8, "rtx-3090"), base);
  StepSettings fp32 = bf16();
  fp32.precision = Precision::kFp32;
  EXPECT_GT(pass_seconds(fp32, 8), 2 * base);
}

// Recomputation repeats the forward pass, about a third of the arithmetic without attention's larger backward pass.
TEST(DecoderPass, CheckpointingAllBlocksCostsAboutAThird) {
  StepSettings all = bf16();
  all.checkpointed_blocks = medium().n_layers;
  const double ratio = pass_seconds(all, 16) / pass_seconds(bf16(), 16);
  EXPECT_GT(ratio, 1.2);
  EXPECT_LT(ratio, 1.4);
}

// 6 FLOPs a parameter and token, plus attention: no prediction can be faster than the card multiplies.
TEST(DecoderPass, IsNeverFasterThanItsProducts) {
  const double tokens = 16.0 * 1024;
  const double least = 6 * static_cast<double>(parameter_count(medium())) * tokens /
                       device_rates(*find_gpu("a100-80gb-sxm")).matmul_16bit_flop_s;
  EXPECT_GT(pass_seconds(bf16(), 16), least);
  EXPECT_LT(pass_seconds(bf16(), 16), 5 * least);
}

TEST(DecoderPass, FewerPassesAreNotSlower) {
  const DecoderPass pass(medium(), bf16(), Backend::kCuda, device_rates(*find_gpu("rtx-3090")));
  double before = 0;
  for (const std::int64_t passes : {1, 2, 4, 8, 16}) {
    const double seconds = seconds_of(pass, {.sequences = 16, .passes = passes});
    EXPECT_GT(seconds, before) << passes;
    before = seconds;
  }
}

TEST(Update, OtherCardsAreServedOneAfterTheOther) {
  const DeviceRates card = device_rates(*find_gpu("rtx-3090"));
  const double one = update_seconds(medium(), bf16(), card, {});
  const double two = update_seconds(medium(), bf16(), card, {card});
  const double four = update_seconds(medium(), bf16(), card, {card, card, card});
  EXPECT_NEAR(four - one, 3 * (two - one), 1e-9);
  EXPECT_GT(two - one, 6.0 * static_cast<double>(parameter_count(medium())) / card.pcie_byte_s);
}

TEST(Update, OffloadingCostsTransfersAndTheHostsMemory) {
  StepSettings offloaded = bf16();
  offloaded.offload_optimizer = true;
  const DeviceRates card = device_rates(*find_gpu("rtx-4090"));
  EXPECT_GT(update_seconds(medium(), offloaded, card, {}), 3 * update_seconds(medium(), bf16(), card, {}));
}

TEST(Collectives, SendWhatARingSends) {
  const CardGroup group{.ranks = 4, .link_byte_s = 1e9};
  EXPECT_DOUBLE_EQ(all_gather_seconds(group, 4e9), 3);
  EXPECT_DOUBLE_EQ(all_reduce_seconds(group, 4e9), 6);
  EXPECT_DOUBLE_EQ(all_reduce_seconds({.ranks = 1, .link_byte_s = 1e9}, 4e9), 0);
}

// A slow link shows, a fast one hides behind the kernels but for what nothing runs beside.
TEST(Collectives, HideBehindPasses) {
  const StepSeconds step{.first_pass = 3, .later_pass = 3, .passes = 2, .update = 1};
  const CardGroup fast{.ranks = 8, .link_byte_s = 1e12}, slow{.ranks = 8, .link_byte_s = 1e9};
  EXPECT_DOUBLE_EQ(step.total(), 7);
  EXPECT_NEAR(data_parallel_seconds(step, fast, 8e9), 7, 0.01);
  EXPECT_NEAR(data_parallel_seconds(step, slow, 8e9), 7 + 14 - 2, 0.1);
  const ShardedBytes once{.gathered = 8e9, .reduced = 8e9, .groups = 32, .gathers_again = false};
  ShardedBytes twice = once;
  twice.gathers_again = true;
  EXPECT_LT(fully_shard_seconds(step, slow, once), fully_shard_seconds(step, slow, twice));
  EXPECT_NEAR(fully_shard_seconds(step, fast, twice), 7, 0.1);
}

// Stage 2 sums gradients in every pass, stage 1 in the last; a bucket of all gradients leaves nothing to hide them
// behind.
TEST(Collectives, OfZero) {
  const StepSeconds step{.first_pass = 3, .later_pass = 3, .passes = 4, .update = 1};
  const CardGroup slow{.ranks = 8, .link_byte_s = 1e9}, one{.ranks = 1, .link_byte_s = 1e9};
  const ZeroBytes first{.gathered = 8e9, .reduced = 8e9, .buckets = 1};
  EXPECT_NEAR(zero_seconds(step, slow, first), 13 + 7 + 14, 0.01);
  ZeroBytes bytes = first;
  bytes.reduces_each_pass = true;
  EXPECT_NEAR(zero_seconds(step, slow, bytes), 13 + 7 + 4 * 14, 0.01);
  EXPECT_DOUBLE_EQ(zero_seconds(step, one, bytes), 13);
  bytes.overlaps = true;
  EXPECT_NEAR(zero_seconds(step, slow, bytes), 13 + 7 + 4 * 14, 0.01);
  bytes.buckets = 100;
  EXPECT_NEAR(zero_seconds(step, slow, bytes), 13 + 7 + 4 * (14 - 2), 0.1);
  bytes.overlaps = false;
  ZeroBytes small = bytes;
  small.buckets = 10'000;
  EXPECT_GT(zero_seconds(step, slow, small), zero_seconds(step, slow, bytes));
}

// Nothing hides them but overlap_comm, and then all but the first gather and the last bucket.
TEST(Collectives, OfZero3) {
  const StepSeconds step{.first_pass = 30, .later_pass = 30, .passes = 2, .update = 1};
  const CardGroup slow{.ranks = 8, .link_byte_s = 1e9}, one{.ranks = 1, .link_byte_s = 1e9};
  Zero3Bytes bytes{.gathered_forward = 8e9,
                   .gathered_backward = 4e9,
                   .reduced = 8e9,
                   .forward_gathers = 100,
                   .backward_gathers = 50,
                   .buckets = 100,
                   .overlaps = false};
  EXPECT_NEAR(zero3_seconds(step, slow, bytes), 61 + 2 * (7 + 3.5 + 7), 0.1);
  EXPECT_DOUBLE_EQ(zero3_seconds(step, one, bytes), 61);
  bytes.overlaps = true;
  EXPECT_NEAR(zero3_seconds(step, slow, bytes), 61 + 2 * 0.14, 0.1);
  const StepSeconds quick{.first_pass = 3, .later_pass = 3, .passes = 1, .update = 1};
  EXPECT_NEAR(zero3_seconds(quick, slow, bytes), 1 + 7 + 3.5 + 7 + 0.14, 0.1);
}

TEST(DeviceRates, CollectivesGoOverWhatStandsBetweenTheCards) {
  const double nvlink = device_rates(*find_gpu("h100-80gb-sxm")).link_byte_s;
  EXPECT_NEAR(nvlink, 370e9, 1e9);
  EXPECT_LT(device_rates(*find_gpu("rtx-4090")).link_byte_s, nvlink / 10);
}

}  // namespace
}  // namespace vramwise

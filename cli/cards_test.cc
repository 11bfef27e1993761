// Which cards a plan and a run are for, on machines that nobody here owns.
#include "cli/cards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramwise::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Gpu nvidia(const std::string& name, Bytes total, ComputeCapability capability, int cuda_index = 0) {
  Gpu gpu;
  gpu.name = name;
  gpu.memory.nvml_total = total;
  gpu.memory.cuda_total = total - Bytes::mib(400);
  gpu.memory.used_by_others = Bytes::mib(100);
  gpu.capability = capability;
  gpu.cuda_index = cuda_index;
  return gpu;
}

Machine machine_with(std::vector<Gpu> gpus, const std::string& driver = "580.95.05") {
  Machine machine;
  machine.gpus = std::move(gpus);
  if (!driver.empty()) machine.driver.nvidia_version = driver;
  machine.host.total = Bytes::gib(64);
  machine.host.available = Bytes::gib(48);
  machine.host.cpu_name = "Test CPU";
  return machine;
}

TEST(Cards, ACardIsPlannedWithWhatOthersLeave) {
  const CardSet set =
      trainable_cards(machine_with({nvidia("NVIDIA GeForce RTX 4090", Bytes::gib(24), {8, 9})})).value();
  ASSERT_EQ(set.cards.size(), 1u);
  EXPECT_EQ(set.origin, CardOrigin::kDetected);
  EXPECT_EQ(set.cards[0].device, "cuda:0");
  EXPECT_EQ(set.cards[0].shown_total, Bytes::gib(24));
  EXPECT_EQ(set.cards[0].budget, Bytes::gib(24) - Bytes::mib(500));
  EXPECT_TRUE(set.cards[0].has_bf16);
  EXPECT_GT(set.cards[0].target.context, Bytes());
}

TEST(Cards, ADriverTooOldForTheWheelIsRefusedWithTheVersionThatIsNeeded) {
  const auto refused =
      trainable_cards(machine_with({nvidia("NVIDIA GeForce RTX 4090", Bytes::gib(24), {8, 9})}, "550.54.15"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kWorld);
  EXPECT_THAT(refused.error().what, AllOf(HasSubstr("580.65.06 or later"), HasSubstr("this is 550.54.15")));
  EXPECT_THAT(refused.error().remedy,
              AllOf(HasSubstr("Update the driver"), HasSubstr("--device cpu"), HasSubstr("cu126")));
}

TEST(Cards, ACardWithoutCodeInTheWheelIsPlannedForButNotTrainedOn) {
  const Machine machine = machine_with({nvidia("NVIDIA GeForce GTX 1080", Bytes::gib(8), {6, 1})});
  EXPECT_EQ(detected_cards(machine).value().cards.size(), 1u);
  const auto refused = trainable_cards(machine);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().what, HasSubstr("no code for compute capability 6.1"));
  EXPECT_THAT(refused.error().remedy, HasSubstr("cu126"));
}

TEST(Cards, ACardThatTorchCannotUseIsLeftOutWhereAnotherIsThere) {
  Gpu old = nvidia("NVIDIA GeForce GTX 1080", Bytes::gib(8), {6, 1}, 0);
  Gpu good = nvidia("NVIDIA GeForce RTX 4090", Bytes::gib(24), {8, 9}, 1);
  CardSet set = trainable_cards(machine_with({old, good})).value();
  ASSERT_EQ(set.cards.size(), 1u);
  EXPECT_EQ(set.cards[0].device, "cuda:1") << "without UUIDs, CUDA's own number";
  EXPECT_EQ(visible_devices_of(set.cards), "");
  EXPECT_THAT(set.notes, ::testing::Contains(HasSubstr("cuda:0 is left out: torch")));
  old.uuid = "GPU-old";
  good.uuid = "GPU-good";
  set = trainable_cards(machine_with({old, good})).value();
  EXPECT_EQ(set.cards[0].device, "cuda:0") << "the only one that the trainer will see";
  EXPECT_EQ(visible_devices_of(set.cards), "GPU-good");
}

TEST(Cards, ACardThatIsFullIsLeftOut) {
  Gpu full = nvidia("NVIDIA GeForce RTX 3090", Bytes::gib(24), {8, 6}, 0);
  full.memory.used_by_others = Bytes::gib(23);
  Gpu empty = nvidia("NVIDIA GeForce RTX 3090", Bytes::gib(24), {8, 6}, 1);
  CardSet set = detected_cards(machine_with({full, empty})).value();
  leave_out_full_cards(set, Bytes::gib(1));
  ASSERT_EQ(set.cards.size(), 1u);
  EXPECT_EQ(set.cards[0].device, "cuda:1");
  EXPECT_THAT(set.notes, ::testing::Contains(HasSubstr("cuda:0 (NVIDIA GeForce RTX 3090) is left out")));
  CardSet all_full = detected_cards(machine_with({full})).value();
  leave_out_full_cards(all_full, Bytes::gib(1));
  EXPECT_EQ(all_full.cards.size(), 1u);
}

TEST(Cards, TuringHasNoBf16) {
  EXPECT_FALSE(trainable_cards(machine_with({nvidia("NVIDIA GeForce RTX 2060", Bytes::gib(6), {7, 5})}))
                   .value()
                   .cards[0]
                   .has_bf16);
}

TEST(Cards, UnequalCardsAreComparedByTheirSpeed) {
  const CardSet set = trainable_cards(machine_with({nvidia("NVIDIA GeForce RTX 3090", Bytes::gib(24), {8, 6}, 0),
                                                    nvidia("NVIDIA GeForce RTX 3080", Bytes::gib(10), {8, 6}, 1)}))
                          .value();
  ASSERT_EQ(set.cards.size(), 2u);
  EXPECT_GT(set.cards[0].relative_speed, set.cards[1].relative_speed);
  const CardSet unknown = trainable_cards(machine_with({nvidia("NVIDIA GeForce RTX 3090", Bytes::gib(24), {8, 6}, 0),
                                                        nvidia("NVIDIA Unheard Of 9000", Bytes::gib(10), {8, 6}, 1)}))
                              .value();
  EXPECT_EQ(unknown.cards[0].relative_speed, unknown.cards[1].relative_speed)
      << "speeds of unknown cards do not compare";
}

TEST(Cards, AHiddenCardTakesNoPart) {
  Gpu hidden = nvidia("NVIDIA GeForce RTX 3080", Bytes::gib(10), {8, 6});
  hidden.cuda_index.reset();
  Machine machine = machine_with({nvidia("NVIDIA GeForce RTX 3090", Bytes::gib(24), {8, 6}), hidden});
  machine.visibility.notes = {"CUDA_VISIBLE_DEVICES hides GPU 1"};
  const CardSet set = trainable_cards(machine).value();
  EXPECT_EQ(set.cards.size(), 1u);
  EXPECT_THAT(set.notes, ::testing::Contains(HasSubstr("hides GPU 1")));
}

TEST(Cards, AnAmdCardIsPlannedForWithANoteAndTrainingOnItIsRefused) {
  Gpu amd;
  amd.vendor = GpuVendor::kAmd;
  amd.name = "AMD Radeon RX 7900 XTX";
  amd.memory.nvml_total = Bytes::gib(24);
  const Machine machine = machine_with({amd}, "");
  const CardSet planned = detected_cards(machine).value();
  ASSERT_EQ(planned.cards.size(), 1u);
  EXPECT_THAT(planned.notes, ::testing::Contains(HasSubstr("not verified")));
  const auto refused = trainable_cards(machine);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kWorld);
  EXPECT_THAT(refused.error().remedy, HasSubstr("--device cpu"));
  EXPECT_TRUE(host_card(machine).ok());
}

TEST(Cards, WithoutAGpuTheHostIsTheDevice) {
  const CardSet set = trainable_cards(machine_with({}, "")).value();
  EXPECT_EQ(set.origin, CardOrigin::kHost);
  EXPECT_EQ(set.cards[0].name, "Test CPU");
  EXPECT_EQ(set.cards[0].budget, Bytes::gib(48));
  EXPECT_THAT(set.notes, ::testing::Contains(HasSubstr("No GPU was found")));
}

TEST(Cards, UnifiedMemoryIsWhatTheHostMayGive) {
  Gpu orin = nvidia("Orin (nvgpu)", Bytes::gib(64), {8, 7});
  orin.memory = {};
  orin.unified_memory = true;
  EXPECT_EQ(trainable_cards(machine_with({orin})).value().cards[0].budget, Bytes::gib(48));
  orin.unified_memory = false;
  EXPECT_THAT(trainable_cards(machine_with({orin})).error().what, HasSubstr("is not known"));
}

TEST(Cards, OfTheCatalogue) {
  const CardSet set = chosen_cards("rtx-2060:8gb").value();
  EXPECT_EQ(set.origin, CardOrigin::kChosen);
  EXPECT_LE(set.cards[0].budget, Bytes::gib(8));
  EXPECT_GT(set.cards[0].budget, Bytes::mib(7500));
  EXPECT_FALSE(set.cards[0].has_bf16);
  EXPECT_THAT(chosen_cards("rtx-4900").error().remedy, HasSubstr("rtx-4090"));
}

}  // namespace
}  // namespace vramwise::cli

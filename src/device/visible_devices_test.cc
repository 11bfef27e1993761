#include "device/visible_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramwise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Device = VisibleDevices::Device;

const std::vector<VisibleCandidate> kThree = {{"GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", false, {}},
                                              {"GPU-89a1b2c3-1111-2222-3333-444455556666", false, {}},
                                              {"GPU-f00dfeed-aaaa-bbbb-cccc-ddddeeeeffff", false, {}}};

const std::vector<VisibleCandidate> kWithMig = {
    {"GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", false, {}},
    {"GPU-f00dfeed-aaaa-bbbb-cccc-ddddeeeeffff",
     true,
     {{"MIG-11111111-aaaa-5555-8888-123456789abc", 1, 0}, {"MIG-22222222-aaaa-5555-8888-123456789abc", 2, 0}}}};

Device card(std::size_t index) { return {index, std::nullopt}; }

std::vector<Device> visible(const std::optional<std::string>& variable,
                            const std::vector<VisibleCandidate>& cards = kThree) {
  return visible_devices(variable, cards).devices;
}

TEST(VisibleDevices, UnsetShowsAllAndEmptyShowsNone) {
  EXPECT_THAT(visible(std::nullopt), ElementsAre(card(0), card(1), card(2)));
  EXPECT_THAT(visible(""), IsEmpty());
  EXPECT_THAT(visible_devices("", kThree).notes, ElementsAre(HasSubstr("hides every card")));
  EXPECT_THAT(visible_devices(std::nullopt, kThree).notes, IsEmpty());
}

TEST(VisibleDevices, IndicesInTheirOrder) {
  EXPECT_THAT(visible("1"), ElementsAre(card(1)));
  EXPECT_THAT(visible("2,0"), ElementsAre(card(2), card(0)));
  EXPECT_THAT(visible(" 2 , 1 "), ElementsAre(card(2), card(1)));
  EXPECT_THAT(visible("+1"), ElementsAre(card(1)));
  EXPECT_THAT(visible("01"), ElementsAre(card(1)));
}

TEST(VisibleDevices, TheFirstInvalidEntryEndsTheList) {
  EXPECT_THAT(visible("-1"), IsEmpty());
  EXPECT_THAT(visible("0,-1,1"), ElementsAre(card(0)));
  EXPECT_THAT(visible("0,7,1"), ElementsAre(card(0)));
  EXPECT_THAT(visible("0,,1"), ElementsAre(card(0)));
  EXPECT_THAT(visible("1,"), ElementsAre(card(1)));
  EXPECT_THAT(visible("all"), IsEmpty());
  EXPECT_THAT(visible("NoDevFiles"), IsEmpty());
  EXPECT_THAT(visible(" "), IsEmpty());
  EXPECT_THAT(visible("99999999999999999999"), IsEmpty());
  const auto notes = visible_devices("0,7,1", kThree).notes;
  EXPECT_THAT(notes, ElementsAre(AllOf(HasSubstr("\"7\""), HasSubstr("3 cards"), HasSubstr("every entry after it"))));
  EXPECT_THAT(visible_devices("all", kThree).notes, ElementsAre(HasSubstr("unset the variable")));
}

TEST(VisibleDevices, ANumberEndsAtItsFirstOtherCharacter) {
  EXPECT_THAT(visible("1gpu2,2ampere"), ElementsAre(card(1), card(2)));
  EXPECT_THAT(visible("0x1"), ElementsAre(card(0)));
}

TEST(VisibleDevices, ADeviceNamedTwiceLeavesNone) {
  EXPECT_THAT(visible("0,0"), IsEmpty());
  EXPECT_THAT(visible("0,1,0"), IsEmpty());
  EXPECT_THAT(visible("GPU-8932f937,GPU-8932f9"), IsEmpty());
  EXPECT_THAT(visible_devices("0,1,0", kThree).notes, ElementsAre(HasSubstr("named twice")));
}

TEST(VisibleDevices, UuidsByUniquePrefix) {
  EXPECT_THAT(visible("GPU-f00dfeed-aaaa-bbbb-cccc-ddddeeeeffff"), ElementsAre(card(2)));
  EXPECT_THAT(visible("GPU-f,GPU-8932f937"), ElementsAre(card(2), card(0)));
  EXPECT_THAT(visible("GPU-89"), IsEmpty());
  EXPECT_THAT(visible_devices("GPU-89", kThree).notes, ElementsAre(HasSubstr("several")));
  EXPECT_THAT(visible("GPU-f,GPU-00000000,GPU-8932f937"), ElementsAre(card(2)));
}

TEST(VisibleDevices, KindsAreNotMixed) {
  EXPECT_THAT(visible("0,GPU-f00dfeed"), ElementsAre(card(0)));
  EXPECT_THAT(visible("GPU-f00dfeed,0"), ElementsAre(card(2)));
}

TEST(VisibleDevices, MigByUuidAndByOldName) {
  EXPECT_THAT(visible("MIG-22222222-aaaa-5555-8888-123456789abc", kWithMig), ElementsAre(Device{1, 1}));
  EXPECT_THAT(visible("MIG-2222", kWithMig), ElementsAre(Device{1, 1}));
  EXPECT_THAT(visible("MIG-GPU-f00dfeed-aaaa-bbbb-cccc-ddddeeeeffff/2/0", kWithMig), ElementsAre(Device{1, 1}));
  EXPECT_THAT(visible("MIG-GPU-f00dfeed/1/0", kWithMig), ElementsAre(Device{1, 0}));
  EXPECT_THAT(visible("MIG-GPU-f00dfeed/3/0", kWithMig), IsEmpty());
  EXPECT_THAT(visible("MIG-GPU-f00dfeed/1", kWithMig), IsEmpty());
  EXPECT_THAT(visible("MIG-33333333", kWithMig), IsEmpty());
}

TEST(VisibleDevices, AtMostOneInstanceAndNothingBesideIt) {
  EXPECT_THAT(visible(std::nullopt, kWithMig), ElementsAre(Device{1, 0}));
  EXPECT_THAT(visible("MIG-2222,MIG-1111", kWithMig), ElementsAre(Device{1, 1}));
  EXPECT_THAT(visible("0,1", kWithMig), ElementsAre(Device{1, 0}));
  EXPECT_THAT(visible("0", kWithMig), ElementsAre(card(0)));
  EXPECT_THAT(visible("1", kWithMig), ElementsAre(Device{1, 0}));
  EXPECT_THAT(visible_devices(std::nullopt, kWithMig).notes, ElementsAre(HasSubstr("at most one MIG instance")));
}

TEST(VisibleDevices, MigModeWithoutInstances) {
  const std::vector<VisibleCandidate> cards = {{"GPU-a0000000", true, {}}, {"GPU-b0000000", false, {}}};
  EXPECT_THAT(visible(std::nullopt, cards), ElementsAre(card(1)));
  EXPECT_THAT(visible("0,1", cards), IsEmpty());
}

TEST(VisibleDevices, NoCards) {
  EXPECT_THAT(visible(std::nullopt, {}), IsEmpty());
  EXPECT_THAT(visible("0", {}), IsEmpty());
  EXPECT_THAT(visible_devices("", {}).notes, IsEmpty());
}

}  // namespace
}  // namespace vramwise

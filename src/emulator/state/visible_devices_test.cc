#include "emulator/state/visible_devices.h"

#include <gmock/gmock.h>

namespace vramwise::emulator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Uuid uuid_of(std::uint8_t first) {
  Uuid uuid{};
  uuid[0] = first;
  return uuid;
}

const std::vector<Uuid> kThree = {uuid_of(0x1a), uuid_of(0x1b), uuid_of(0x2c)};

TEST(VisibleDevices, AllWithoutTheVariable) { EXPECT_THAT(visible_devices(nullptr, kThree), ElementsAre(0, 1, 2)); }

TEST(VisibleDevices, NoneWhenEmptyOrNegative) {
  EXPECT_THAT(visible_devices("", kThree), IsEmpty());
  EXPECT_THAT(visible_devices("-1", kThree), IsEmpty());
  EXPECT_THAT(visible_devices("NoDevFiles", kThree), IsEmpty());
}

TEST(VisibleDevices, OrderIsTheLists) {
  EXPECT_THAT(visible_devices("2,0", kThree), ElementsAre(2, 0));
  EXPECT_THAT(visible_devices(" 1 , 2 ", kThree), ElementsAre(1, 2));
}

TEST(VisibleDevices, StopsAtTheFirstThatIsNot) {
  EXPECT_THAT(visible_devices("0,7,1", kThree), ElementsAre(0));
  EXPECT_THAT(visible_devices("1,-1,2", kThree), ElementsAre(1));
}

TEST(VisibleDevices, NamedTwiceLeavesNone) { EXPECT_THAT(visible_devices("1,1", kThree), IsEmpty()); }

TEST(VisibleDevices, UuidsWholeOrUniquelyShortened) {
  EXPECT_THAT(visible_devices(uuid_text(kThree[1]).c_str(), kThree), ElementsAre(1));
  EXPECT_THAT(visible_devices("GPU-2c,GPU-1A", kThree), ElementsAre(2, 0));
  EXPECT_THAT(visible_devices("GPU-1", kThree), IsEmpty()) << "two cards begin so";
  EXPECT_THAT(visible_devices("MIG-2c000000-0000-0000-0000-000000000000", kThree), IsEmpty());
}

TEST(VisibleDevices, UuidText) { EXPECT_EQ(uuid_text(kThree[2]), "GPU-2c000000-0000-0000-0000-000000000000"); }

}  // namespace
}  // namespace vramwise::emulator

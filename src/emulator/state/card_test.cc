#include "emulator/state/card.h"

#include <gtest/gtest.h>

namespace vramwise::emulator {
namespace {

constexpr const char* kOne =
    R"({"cards": [{"name": "A", "capability": "8.6", "total_bytes": 25000000000, "context_bytes": 300000000}]})";

TEST(Card, ReadsWhatIsGivenAndDerivesTheRest) {
  const auto machine = parse_machine(kOne);
  ASSERT_TRUE(machine.ok());
  const CardSpec& card = machine->cards.at(0);
  EXPECT_EQ(card.capability(), 86);
  EXPECT_EQ(card.nvml_total, card.total);
  EXPECT_EQ(card.limits.threads_per_sm, 1536);
  EXPECT_EQ(card.limits.shared_kib_per_block_optin, 99);
}

TEST(Card, TwoOfAKindHaveUuidsOfTheirOwn) {
  const auto machine = parse_machine(R"({"cards": [{"name": "A", "capability": "8.6", "total_bytes": 1000000000},
                                                   {"name": "A", "capability": "8.6", "total_bytes": 1000000000}]})");
  ASSERT_TRUE(machine.ok());
  EXPECT_NE(machine->cards[0].uuid, machine->cards[1].uuid);
  EXPECT_EQ(machine->cards[0].uuid, parse_machine(kOne)->cards[0].uuid) << "the same in every run";
}

TEST(Card, RefusesWhatIsNoCard) {
  for (const char* text :
       {"", "{}", R"({"cards": [{}]})", R"({"cards": [{"name": "A", "capability": "8", "total_bytes": 1}]})",
        R"({"cards": [{"name": "A", "capability": "8.6", "total_bytes": 100, "context_bytes": 100}]})",
        R"({"cards": [{"name": "A", "capability": "8.6", "total_bytes": 100, "other_bytes": -1}]})",
        R"({"cards": [{"name": "A", "capability": "8.6", "total_bytes": 100, "uuid": "GPU-1"}]})"}) {
    EXPECT_FALSE(parse_machine(text).ok()) << text;
  }
}

TEST(Card, AnUnknownCapabilityHasTheLimitsOfTheOneBelow) {
  EXPECT_EQ(limits_of_capability(88).threads_per_sm, limits_of_capability(87).threads_per_sm);
  EXPECT_EQ(limits_of_capability(130).blocks_per_sm, limits_of_capability(121).blocks_per_sm);
}

}  // namespace
}  // namespace vramwise::emulator

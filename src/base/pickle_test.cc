#include "base/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace vramwise {
namespace {

using ::testing::HasSubstr;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// Python 3.11: pickle.dumps({'vocab_size': 3, 'itos': {0: '\n', 1: 'a', 2: 'é'}, 'stoi': {…}}, protocol).hex()
constexpr const char* kProtocol2 =
    "80027d710028580a000000766f6361625f73697a6571014b03580400000069746f7371027d7103284b0058010000000a7104"
    "4b0158010000006171054b025802000000c3a9710675580400000073746f6971077d71082868044b0068054b0168064b0275"
    "752e";
constexpr const char* kProtocol4 =
    "80049549000000000000007d94288c0a766f6361625f73697a65944b038c0469746f73947d94284b008c010a944b018c0161"
    "944b028c02c3a994758c0473746f69947d942868044b0068054b0168064b0275752e";
// pickle.dumps([None, True, False, -5, 300, 70000, 2**40, -2**40, 1.5, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)])
constexpr const char* kPlain =
    "8004954c000000000000005d94284e88894afbffffff4d2c014a701101008a060000000000018a060000000000ff473ff800"
    "0000000000294b0185944b014b0286944b014b024b038794284b014b024b034b047494652e";
// A class whose __reduce__ is (os.system, ("true",)).
constexpr const char* kCall = "8004951f000000000000008c05706f736978948c0673797374656d9493948c047472756594859452942e";

TEST(Pickle, ReadsEveryKindOfPlainData) {
  const std::string bytes = from_hex(kPlain);
  const auto parsed = parse_pickle(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.error().what;
  const PlainValue list = parsed->root();
  ASSERT_EQ(list.size(), 14U);
  EXPECT_EQ(list.item(0).kind(), PlainKind::kNone);
  EXPECT_EQ(list.item(1).boolean(), true);
  EXPECT_EQ(list.item(2).boolean(), false);
  const std::vector<std::int64_t> integers = {-5, 300, 70000, std::int64_t{1} << 40, -(std::int64_t{1} << 40)};
  for (std::size_t i = 0; i < integers.size(); ++i) EXPECT_EQ(list.item(3 + i).integer(), integers[i]);
  EXPECT_EQ(list.item(8).number(), 1.5);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(list.item(9 + i).size(), i);
}

TEST(Pickle, ReadsDictsOfBothKindsOfMemo) {
  for (const char* hex : {kProtocol2, kProtocol4}) {
    const std::string bytes = from_hex(hex);
    const auto parsed = parse_pickle(bytes);
    ASSERT_TRUE(parsed.ok()) << parsed.error().what;
    EXPECT_EQ(parsed->root().integer_of("vocab_size"), 3);
    const auto itos = parsed->root().find("itos");
    ASSERT_TRUE(itos.has_value());
    ASSERT_EQ(itos->size(), 3U);
    EXPECT_EQ(itos->key(2).integer(), 2);
    EXPECT_EQ(itos->value(2).text(), "é");
    EXPECT_EQ(parsed->root().integer_of("itos"), std::nullopt) << "of another kind";
  }
}

TEST(Pickle, AListMayStandInSeveralPlaces) {
  // a = ["x"]; pickle.dumps([a, a, (a,)], protocol=4)
  const std::string bytes = from_hex("80049512000000000000005d94285d948c01789461680168018594652e");
  const auto parsed = parse_pickle(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.error().what;
  const PlainValue root = parsed->root();
  ASSERT_EQ(root.size(), 3U);
  EXPECT_EQ(root.item(0).index(), root.item(1).index());
  EXPECT_EQ(root.item(2).item(0).item(0).text(), "x");
}

TEST(Pickle, RunsNothing) {
  const auto parsed = parse_pickle(from_hex(kCall));
  ASSERT_FALSE(parsed.ok());
  EXPECT_THAT(parsed.error().what, HasSubstr("not plain data"));
}

TEST(Pickle, AListThatHoldsItselfIsAnError) {
  // a = []; a.append(a); pickle.dumps(a, protocol=2)
  EXPECT_FALSE(parse_pickle(from_hex("80025d71006800612e")).ok());
}

TEST(Pickle, EveryCutIsAnErrorAndNoCrash) {
  for (const char* hex : {kProtocol2, kProtocol4, kPlain}) {
    const std::string whole = from_hex(hex);
    for (std::size_t size = 0; size < whole.size(); ++size)
      EXPECT_FALSE(parse_pickle(whole.substr(0, size)).ok()) << size;
  }
}

TEST(Pickle, DamagedBytesDoNotCrash) {
  for (const char* hex : {kProtocol2, kProtocol4, kPlain}) {
    const std::string whole = from_hex(hex);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (int value = 0; value < 256; ++value) {
        std::string damaged = whole;
        damaged[i] = static_cast<char>(value);
        static_cast<void>(parse_pickle(damaged).ok());
      }
    }
  }
}

TEST(Pickle, TooDeepIsAnError) {
  std::string deep = from_hex("8002");
  for (int i = 0; i < 100000; ++i) deep += ']';
  for (int i = 1; i < 100000; ++i) deep += 'a';
  EXPECT_FALSE(parse_pickle(deep + ".").ok());
}

TEST(PlainJson, ReadsTheSameForm) {
  const auto parsed = parse_plain_json(R"({"a": [1, -2.5, "x", null, true], "b": {"c": 18446744073709551615}})", "f");
  ASSERT_TRUE(parsed.ok()) << parsed.error().what;
  const auto list = parsed->root().find("a");
  ASSERT_TRUE(list.has_value());
  EXPECT_EQ(list->item(0).integer(), 1);
  EXPECT_EQ(list->item(1).number(), -2.5);
  EXPECT_EQ(list->item(2).text(), "x");
  EXPECT_EQ(list->item(3).kind(), PlainKind::kNone);
  EXPECT_EQ(list->item(4).boolean(), true);
  EXPECT_EQ(parsed->root().find("b")->integer_of("c"), std::numeric_limits<std::int64_t>::max());
}

TEST(PlainJson, RefusesWhatIsNoJsonOrTooDeep) {
  EXPECT_THAT(parse_plain_json("{\"a\": ", "some.json").error().what, HasSubstr("some.json: not JSON"));
  EXPECT_THAT(parse_plain_json(std::string(100000, '['), "f").error().what, HasSubstr("too deep"));
}

}  // namespace
}  // namespace vramwise

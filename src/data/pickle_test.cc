#include "data/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramwise {
namespace {

using ::testing::ElementsAre;
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

TEST(Pickle, ReadsNanoGptsVocabulary) {
  for (const char* hex : {kProtocol2, kProtocol4}) {
    const auto meta = parse_nanogpt_meta(from_hex(hex));
    ASSERT_TRUE(meta.ok()) << meta.error().what;
    EXPECT_EQ(meta->vocab_size, 3);
    EXPECT_THAT(meta->characters, ElementsAre("\n", "a", "é"));
  }
}

TEST(Pickle, ReadsEveryKindOfPlainData) {
  const auto parsed = parse_pickle(from_hex(kPlain));
  ASSERT_TRUE(parsed.ok()) << parsed.error().what;
  const PickleList& list = *std::get<std::shared_ptr<PickleList>>(parsed->value);
  ASSERT_EQ(list.size(), 14U);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(list[0].value));
  EXPECT_EQ(std::get<bool>(list[1].value), true);
  EXPECT_EQ(std::get<bool>(list[2].value), false);
  const std::vector<std::int64_t> integers = {-5, 300, 70000, std::int64_t{1} << 40, -(std::int64_t{1} << 40)};
  for (std::size_t i = 0; i < integers.size(); ++i) EXPECT_EQ(std::get<std::int64_t>(list[3 + i].value), integers[i]);
  EXPECT_EQ(std::get<double>(list[8].value), 1.5);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(std::get<std::shared_ptr<PickleList>>(list[9 + i].value)->size(), i);
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
        static_cast<void>(parse_nanogpt_meta(damaged).ok());
      }
    }
  }
}

TEST(Pickle, AVocabularyWithoutItsSizeIsAnError) {
  EXPECT_THAT(parse_nanogpt_meta(from_hex(kPlain)).error().what, HasSubstr("vocab_size"));
}

}  // namespace
}  // namespace vramwise

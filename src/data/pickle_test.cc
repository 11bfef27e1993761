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

TEST(NanoGptMeta, ReadsTheVocabulary) {
  for (const char* hex : {kProtocol2, kProtocol4}) {
    const auto meta = parse_nanogpt_meta(from_hex(hex));
    ASSERT_TRUE(meta.ok()) << meta.error().what;
    EXPECT_EQ(meta->vocab_size, 3);
    EXPECT_THAT(meta->characters, ElementsAre("\n", "a", "é"));
  }
}

TEST(NanoGptMeta, DamagedBytesDoNotCrash) {
  for (const char* hex : {kProtocol2, kProtocol4}) {
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

TEST(NanoGptMeta, AVocabularyWithoutItsSizeIsAnError) {
  EXPECT_THAT(parse_nanogpt_meta(from_hex("80027d2e")).error().what, HasSubstr("vocab_size"));
  EXPECT_THAT(parse_nanogpt_meta(from_hex("80025d2e")).error().what, HasSubstr("vocab_size"));
}

}  // namespace
}  // namespace vramwise

#include "data/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/temporary_folder.h"
#include "data/trained_model.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Displayable, KeepsWhatIsValidUtf8) { EXPECT_EQ(displayable("a\tb\n ä € 𝄞"), "a\tb\n ä € 𝄞"); }

TEST(Displayable, ShowsWhatIsNotAsReplacementCharacters) {
  EXPECT_EQ(displayable("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(displayable("\xE2\x82"), "\uFFFD") << "a cut-off character is one";
  EXPECT_EQ(displayable("\xE2\x82z"), "\uFFFDz");
  EXPECT_EQ(displayable("\xC0\xAF"), "\uFFFD\uFFFD") << "an overlong form of '/'";
  EXPECT_EQ(displayable("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD") << "a surrogate";
  EXPECT_EQ(displayable("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD") << "beyond U+10FFFF";
}

TEST(Displayable, LetsNoControlCharactersThrough) {
  // An escape sequence in a sample would otherwise be obeyed by the terminal.
  EXPECT_EQ(displayable("\x1B[31mred"), "\uFFFD[31mred");
  EXPECT_EQ(displayable("a\rb\x7F\xC2\x9B"), "a\uFFFDb\uFFFD\uFFFD");
}

TEST(ByteTokenizer, GoesThereAndBack) {
  const auto bytes = make_byte_tokenizer();
  EXPECT_EQ(bytes->vocab_size(), 256);
  EXPECT_THAT(bytes->encode("aä"), ElementsAre(0x61, 0xC3, 0xA4));
  EXPECT_EQ(bytes->decode(bytes->encode("aä\n")), "aä\n");
  EXPECT_EQ(bytes->decode({'a', 0, 'b'}), "a\n\nb");
  EXPECT_EQ(bytes->decode({'a', 300, -1}), "a\uFFFD\uFFFD") << "ids of a padded vocabulary";
}

TEST(CharacterTokenizer, GoesThereAndBack) {
  const auto characters = make_character_tokenizer({"\n", "a", "é"});
  EXPECT_THAT(characters->encode("é?a\n"), ElementsAre(2, 1, 0));
  EXPECT_EQ(characters->decode({2, 1, 9}), "éa\uFFFD");
}

TEST(IdPrinter, ShowsIds) {
  const auto ids = make_id_printer(50304);
  EXPECT_EQ(ids->decode({17, 4, 2901}), "17 4 2901");
  EXPECT_FALSE(ids->knows_text());
  EXPECT_TRUE(ids->encode("text").empty());
}

TEST(SentencePiece, EncodesAndDecodesWithATrainedModel) {
  const TemporaryFolder folder;
  const auto model = load_sentence_piece(train_model(folder, 400));
  ASSERT_TRUE(model.ok()) << model.error().what;
  const Tokenizer& tokenizer = **model;
  EXPECT_EQ(tokenizer.vocab_size(), 400);
  EXPECT_EQ(tokenizer.description(), "SentencePiece model model.model (400 tokens)");
  const auto ids = tokenizer.encode("the river runs to the sea");
  EXPECT_LT(ids.size(), 25U);
  EXPECT_EQ(tokenizer.decode(ids), "the river runs to the sea");
  EXPECT_THAT(tokenizer.separator(), ElementsAre(2)) << "</s>";
  EXPECT_EQ(tokenizer.decode({9999, -4}), "") << "ids outside the vocabulary are left out";
}

TEST(SentencePiece, WhatIsNoModelIsAnErrorThatSaysWhatOneIs) {
  const TemporaryFolder folder;
  for (const char* content : {"", "{\"version\": \"1.0\"}", "\x0A\x05zzzzz"}) {
    const auto model = load_sentence_piece(folder.write("tokenizer.json", content));
    ASSERT_FALSE(model.ok()) << content;
    EXPECT_EQ(model.error().what, folder.at("tokenizer.json") + ": not a SentencePiece model");
    EXPECT_THAT(model.error().remedy, HasSubstr(".model"));
  }
  EXPECT_THAT(load_sentence_piece(folder.at("none")).error().what, HasSubstr("No such file"));
}

}  // namespace
}  // namespace vramwise

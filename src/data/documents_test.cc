#include "data/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/temporary_folder.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;

struct Reading {
  std::vector<std::string> documents;
  std::vector<std::string> chunks;
  std::int64_t read_bytes = 0;
};

Result<Reading> read_all(const std::string& path, SourceKind kind, std::size_t chunk_bytes = 1 << 20) {
  const auto file = MappedFile::open(path).value();
  Reading reading;
  bool in_document = false;
  const Status status = read_documents(
      *file, kind,
      [&](TextChunk chunk, std::int64_t read_bytes) -> Status {
        if (!in_document) reading.documents.emplace_back();
        reading.documents.back() += chunk.text;
        in_document = !chunk.ends_document;
        reading.chunks.push_back(std::move(chunk.text));
        EXPECT_GE(read_bytes, reading.read_bytes);
        reading.read_bytes = read_bytes;
        return Done{};
      },
      chunk_bytes);
  if (!status.ok()) return status.error();
  EXPECT_FALSE(in_document) << "the last document was not ended";
  EXPECT_EQ(reading.read_bytes, file->size());
  return reading;
}

TEST(Documents, ATextFileIsOneDocument) {
  const TemporaryFolder folder;
  const auto reading = read_all(folder.write("a.txt", "one\ntwo\n"), SourceKind::kText);
  ASSERT_TRUE(reading.ok());
  EXPECT_THAT(reading->documents, ElementsAre("one\ntwo\n"));
}

TEST(Documents, ChunksEndWithALineElseBeforeASpaceAndNeverWithinACharacter) {
  const TemporaryFolder folder;
  const auto chunks = [&](const std::string& text, std::size_t limit) {
    const auto reading = read_all(folder.write("a.txt", text), SourceKind::kText, limit);
    EXPECT_THAT(reading->documents, ElementsAre(text));
    return reading->chunks;
  };
  EXPECT_THAT(chunks("ab\ncd\nef\n", 7), ElementsAre("ab\ncd\n", "ef\n"));
  EXPECT_THAT(chunks("ab cd ef gh", 7), ElementsAre("ab cd", " ef gh"));
  EXPECT_THAT(chunks("€€€€", 5), ElementsAre("€", "€", "€", "€"));
  EXPECT_THAT(chunks("abcdefgh", 5), ElementsAre("abcde", "fgh"));
  // Bytes that are no characters at all still come through whole.
  chunks(std::string(50, '\x80'), 5);
}

TEST(Documents, EachJsonLineIsADocument) {
  const TemporaryFolder folder;
  const auto reading = read_all(folder.write("a.jsonl",
                                             "\xEF\xBB\xBF{\"text\": \"one\\ntwo \\u00e9\", \"id\": 3}\r\n"
                                             "\n"
                                             "{\"text\": \"\"}\n"
                                             "{\"text\": \"no newline at the end\"}"),
                                SourceKind::kJsonl);
  ASSERT_TRUE(reading.ok()) << reading.error().what;
  EXPECT_THAT(reading->documents, ElementsAre("one\ntwo é", "", "no newline at the end"));
}

TEST(Documents, ABrokenLineIsNamedByFileAndLine) {
  const TemporaryFolder folder;
  const auto failure = [&](const std::string& line) {
    const auto reading =
        read_all(folder.write("a.jsonl", "{\"text\": \"fine\"}\n\n" + line + "\n"), SourceKind::kJsonl);
    EXPECT_FALSE(reading.ok());
    EXPECT_EQ(reading.error().code, ErrorCode::kWorld);
    return reading.error().what;
  };
  const std::string where = folder.at("a.jsonl") + ":3: ";
  EXPECT_EQ(failure("{\"text\": \"cut o"), where + "not valid JSON");
  EXPECT_EQ(failure("{\"text\": \"\xFF\"}"), where + "not valid JSON");
  EXPECT_EQ(failure("[\"text\"]"), where + "not a JSON object");
  EXPECT_EQ(failure("{\"content\": \"x\", \"id\": 1}"), where + "no \"text\" in it (its keys: content, id)");
  EXPECT_EQ(failure("{}"), where + "no \"text\" in it (its keys: none)");
  EXPECT_EQ(failure("{\"text\": 7}"), where + "\"text\" is not text");
}

TEST(Documents, AnErrorOfTheReceiverEndsTheReading) {
  const TemporaryFolder folder;
  const auto file = MappedFile::open(folder.write("a.txt", "a b c d e f g h")).value();
  int calls = 0;
  const Status status = read_documents(
      *file, SourceKind::kText,
      [&](const TextChunk&, std::int64_t) -> Status {
        ++calls;
        return world_error("disk full");
      },
      5);
  EXPECT_EQ(status.error().what, "disk full");
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace vramwise

#include "data/source_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/temporary_folder.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> names(const std::vector<SourceFile>& files) {
  std::vector<std::string> names;
  names.reserve(files.size());
  for (const SourceFile& file : files) names.push_back(std::filesystem::path(file.path).filename().string());
  return names;
}

Error error_of(const std::string& data_dir) {
  const auto files = find_source_files(data_dir);
  EXPECT_FALSE(files.ok());
  return files.ok() ? Error{} : files.error();
}

TEST(SourceFiles, TokenFilesComeFirst) {
  const TemporaryFolder folder;
  for (const char* name : {"train.bin", "val.bin", "meta.pkl", "input.txt", "train.jsonl", "prepare.py"})
    folder.write(name, "x");
  const auto files = find_source_files(folder.path());
  ASSERT_TRUE(files.ok());
  EXPECT_THAT(names(files->train), ElementsAre("train.bin"));
  EXPECT_THAT(names(files->val), ElementsAre("val.bin"));
  EXPECT_EQ(files->train[0].kind, SourceKind::kTokens);
  EXPECT_THAT(files->left_aside, ElementsAre("input.txt", "train.jsonl"));
}

TEST(SourceFiles, TrainAndValidationAreOfOneKind) {
  const TemporaryFolder folder;
  for (const char* name : {"train.txt", "valid.txt", "val.jsonl"}) folder.write(name, "x");
  const auto files = find_source_files(folder.path());
  ASSERT_TRUE(files.ok());
  EXPECT_THAT(names(files->train), ElementsAre("train.txt"));
  EXPECT_THAT(names(files->val), ElementsAre("valid.txt"));
  EXPECT_THAT(files->left_aside, ElementsAre("val.jsonl"));
}

TEST(SourceFiles, OtherwiseAllTextsInOrder) {
  const TemporaryFolder folder;
  for (const char* name : {"b.TXT", "a.jsonl", "c.txt", ".hidden.txt", "notes.md"}) folder.write(name, "x");
  std::filesystem::create_directory(folder.at("folder.txt"));
  const auto files = find_source_files(folder.path());
  ASSERT_TRUE(files.ok());
  EXPECT_THAT(names(files->train), ElementsAre("a.jsonl", "b.TXT", "c.txt"));
  EXPECT_THAT(files->val, IsEmpty());
}

TEST(SourceFiles, ASingleFileIsTheTrainingSet) {
  const TemporaryFolder folder;
  const auto files = find_source_files(folder.write("book.txt", "x"));
  ASSERT_TRUE(files.ok());
  EXPECT_THAT(names(files->train), ElementsAre("book.txt"));
  EXPECT_EQ(files->folder, folder.path());
}

TEST(SourceFiles, AMissingFolderNamesTheCommandThatMakesOne) {
  const Error error = error_of("/nowhere/data");
  EXPECT_EQ(error.code, ErrorCode::kWorld);
  EXPECT_EQ(error.what, "the data folder /nowhere/data does not exist");
  EXPECT_EQ(error.remedy, "vramwise synth --out /nowhere/data");
  EXPECT_EQ(error_of("/nowhere/my data").remedy, "vramwise synth --out '/nowhere/my data'");
  EXPECT_EQ(error_of("/nowhere/data.txt").what, "the data set /nowhere/data.txt does not exist");
}

TEST(SourceFiles, AnEmptyFolderNamesTheCommandThatFillsIt) {
  const TemporaryFolder folder;
  folder.write(".gitkeep", "");
  const Error error = error_of(folder.path());
  EXPECT_EQ(error.what, "the data folder " + folder.path() + " is empty");
  EXPECT_EQ(error.remedy, "vramwise synth --out " + folder.path());
}

TEST(SourceFiles, UnknownFormatsAreListedWithWhatIsUnderstood) {
  const TemporaryFolder folder;
  for (const char* name : {"part.parquet", "table.csv", "val.bin"}) folder.write(name, "x");
  std::filesystem::create_directory(folder.at("texts"));
  const Error error = error_of(folder.path());
  EXPECT_EQ(error.code, ErrorCode::kWorld);
  EXPECT_THAT(error.what, HasSubstr("(found: part.parquet, table.csv, texts/, val.bin)"));
  for (const char* format : {"train.bin", "uint32", ".txt", ".jsonl", "\"text\""})
    EXPECT_THAT(error.remedy, HasSubstr(format));
  EXPECT_THAT(error_of(folder.at("table.csv")).what, HasSubstr("the format of this file is not known"));
  for (int i = 0; i < 20; ++i) folder.write(fmt::format("x{}.csv", i), "x");
  EXPECT_THAT(error_of(folder.path()).what, HasSubstr(" and 16 more)"));
}

TEST(SourceFiles, AnUnreadableFolderSaysSo) {
  const TemporaryFolder folder;
  folder.write("train.txt", "x");
  std::filesystem::permissions(folder.path(), std::filesystem::perms::none);
  std::string folder_what;
  std::string file_what;
  {
    const WithoutPrivileges nobody;
    if (!nobody.works()) GTEST_SKIP() << "root here cannot become another user";
    folder_what = error_of(folder.path()).what;
    file_what = error_of(folder.at("train.txt")).what;
  }
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all);
  EXPECT_EQ(folder_what, "cannot read folder " + folder.path() + ": Permission denied");
  EXPECT_EQ(file_what, "cannot read " + folder.at("train.txt") + ": Permission denied");
}

TEST(ShellWord, QuotesWhatAShellWouldTakeApart) {
  EXPECT_EQ(shell_word("data/a-b_1.txt"), "data/a-b_1.txt");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("$HOME"), "'$HOME'");
}

}  // namespace
}  // namespace vramwise

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>

#include "io/files.h"
#include "safetensors/reader.h"
#include "safetensors/writer.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

class Safetensors : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "vramwise_st_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/model.safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write_raw(const std::string& content) { ASSERT_TRUE(write_file_atomically(path_, content).ok()); }

  static std::string with_header(const std::string& json, std::size_t data_bytes) {
    std::string text(8, '\0');
    const std::uint64_t length = json.size();
    std::memcpy(text.data(), &length, 8);
    return text + json + std::string(data_bytes, 'd');
  }

  std::string error_of(const std::string& json, std::size_t data_bytes) {
    write_raw(with_header(json, data_bytes));
    const auto file = SafetensorsFile::open(path_);
    return file.ok() ? "none" : file.error().what;
  }

  void write_sample() {
    const std::vector<TensorInfo> tensors = {{.name = "a.weight", .type = TensorType::kF32, .shape = {2, 3}},
                                             {.name = "scalar", .type = TensorType::kBF16, .shape = {}},
                                             {.name = "empty", .type = TensorType::kI64, .shape = {0, 5}}};
    auto writer = SafetensorsWriter::create(path_, tensors, {{"format", "pt"}});
    ASSERT_TRUE(writer.ok());
    const std::vector<float> values = {0, 1, 2, 3, 4, 5};
    ASSERT_TRUE(writer->append(std::as_bytes(std::span(values).first(4))).ok());
    ASSERT_TRUE(writer->append(std::as_bytes(std::span(values).subspan(4))).ok());
    ASSERT_TRUE(writer->append(std::as_bytes(std::span("ab", 2))).ok());
    ASSERT_TRUE(writer->finish().ok());
    EXPECT_EQ(writer->file_bytes(), static_cast<std::int64_t>(std::filesystem::file_size(path_)));
    Checksum checksum;
    const std::string text = read_file(path_).value();
    checksum.add(std::as_bytes(std::span(text)));
    EXPECT_EQ(writer->file_checksum(), checksum.value());
  }

  std::string folder_;
  std::string path_;
};

TEST_F(Safetensors, RoundTrip) {
  write_sample();
  const auto file = SafetensorsFile::open(path_);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->metadata().at("format"), "pt");
  EXPECT_EQ(file->tensors().size(), 3U);
  const TensorInfo* a = file->find("a.weight");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->shape, (std::vector<std::int64_t>{2, 3}));
  float last = 0;
  std::memcpy(&last, file->bytes(*a).data() + 20, 4);
  EXPECT_EQ(last, 5.0F);
  EXPECT_EQ(file->bytes(*file->find("scalar")).size(), 2U);
  EXPECT_TRUE(file->bytes(*file->find("empty")).empty());
  EXPECT_EQ(file->find("b"), nullptr);
}

TEST_F(Safetensors, TheBytesAreThoseOfTheSpecification) {
  write_sample();
  const std::string text = read_file(path_).value();
  std::uint64_t length = 0;
  std::memcpy(&length, text.data(), 8);
  EXPECT_EQ(length % 8, 0U);
  EXPECT_THAT(text.substr(8, length), HasSubstr(R"("a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]})"));
  EXPECT_EQ(text.size(), 8 + length + 26);
}

TEST_F(Safetensors, EveryCutIsAnError) {
  write_sample();
  const std::string whole = read_file(path_).value();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_raw(whole.substr(0, length));
    EXPECT_FALSE(SafetensorsFile::open(path_).ok()) << length;
  }
  write_raw(whole + "x");
  EXPECT_THAT(SafetensorsFile::open(path_).error().what, HasSubstr("27 bytes of data"));
}

TEST_F(Safetensors, BrokenHeadersAreNamed) {
  EXPECT_THAT(error_of("{]", 0), HasSubstr("no JSON object"));
  EXPECT_THAT(error_of("[]", 0), HasSubstr("no JSON object"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4), HasSubstr("F33"));
  EXPECT_THAT(error_of(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4), HasSubstr("dtype"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4), HasSubstr("do not agree"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), HasSubstr("do not agree"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4), HasSubstr("pair"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), HasSubstr("no size"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4), HasSubstr("no size"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,4]}})", 4),
              HasSubstr("no size"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F64","shape":[4000000000,4000000000],"data_offsets":[0,4]}})", 4),
              HasSubstr("beyond 64 bits"));
  EXPECT_THAT(error_of(R"({"__metadata__":{"a":1}})", 0), HasSubstr("no text"));
  const std::string one = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  EXPECT_EQ(error_of("{" + one + "}", 4), "none");
  EXPECT_THAT(error_of("{" + one + "," + one + "}", 4), HasSubstr("twice"));
  EXPECT_THAT(error_of("{" + one + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4),
              HasSubstr("\"b\" overlaps"));
  EXPECT_THAT(error_of("{" + one + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})", 12), HasSubstr("gap"));
}

TEST_F(Safetensors, AHugeHeaderIsRefusedBeforeItIsRead) {
  std::string text(64, '\0');
  const std::uint64_t length = std::uint64_t{1} << 63;
  std::memcpy(text.data(), &length, 8);
  write_raw(text);
  EXPECT_THAT(SafetensorsFile::open(path_).error().what, HasSubstr("header would be"));
}

TEST_F(Safetensors, DeepNestingIsNoCrash) {
  EXPECT_THAT(error_of(std::string(1'000'000, '['), 0), HasSubstr("no JSON object"));
  EXPECT_THAT(error_of(R"({"a":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}", 0),
              HasSubstr("tensor \"a\""));
}

TEST_F(Safetensors, RandomDamageNeverCrashes) {
  write_sample();
  const std::string whole = read_file(path_).value();
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    std::string text = whole;
    for (int j = 0; j < 3; ++j) text[random() % text.size()] = static_cast<char>(random());
    write_raw(text);
    const auto file = SafetensorsFile::open(path_);
    if (!file.ok()) continue;
    for (const TensorInfo& tensor : file->tensors()) {
      // Whatever was accepted lies within the file.
      const auto bytes = file->bytes(tensor);
      if (!bytes.empty()) {
        EXPECT_NE(bytes.back(), std::byte{1});
      }
    }
  }
}

}  // namespace
}  // namespace vramwise

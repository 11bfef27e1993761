#include "models/catalogue/model_catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/text.h"
#include "models/config.h"

namespace vramwise {
namespace {

TEST(ModelCatalogue, EveryModelHasAsManyParametersAsItsCardSays) {
  for (const CatalogueModel& entry : model_catalogue()) {
    const Result<ModelConfig> config = parse_model_config(entry.config, entry.names.front());
    ASSERT_TRUE(config.ok()) << config.error().what;
    tape::Tape tape(tape::Hardware::of(90, 132));
    const auto model = config->architecture.make(tape, DType::kBFloat16, {});
    std::int64_t parameters = 0;
    for (const Tensor& parameter : model->parameters()) parameters += parameter.numel();
    EXPECT_EQ(parameters, entry.parameters) << entry.names.front();
  }
}

TEST(ModelCatalogue, NamesAreUnique) {
  std::set<std::string> names;
  for (const CatalogueModel& entry : model_catalogue())
    for (const std::string& name : entry.names) EXPECT_TRUE(names.insert(to_lower(name)).second) << name;
  EXPECT_GE(model_catalogue().size(), 60U);
}

TEST(ModelCatalogue, FindsModelsInAnyCaseAndWithoutTheirOwner) {
  ASSERT_NE(find_model("meta-llama/Llama-3.1-8B"), nullptr);
  EXPECT_EQ(find_model("META-LLAMA/llama-3.1-8b")->parameters, 8030261248);
  EXPECT_EQ(find_model("llama-3.1-8b")->parameters, 8030261248);
  EXPECT_EQ(find_model("somebody/llama-3.1-8b"), nullptr);
  EXPECT_EQ(find_model(""), nullptr);
}

TEST(ModelCatalogue, UnknownNamesGetNearOnes) {
  EXPECT_THAT(names_like("meta-llama/Llama-3.1-9B"), testing::Contains("meta-llama/Llama-3.1-8B"));
  EXPECT_THAT(names_like("Qwen2.5"), testing::SizeIs(3));
  EXPECT_THAT(names_like("xyzzy"), testing::IsEmpty());
  EXPECT_THAT(names_like(std::string(100000, 'a')), testing::IsEmpty());
}

}  // namespace
}  // namespace vramwise

// vramwise models: the catalogue of models, or the part of it that has the given words in name or architecture.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "models/catalogue/model_catalogue.h"
#include "models/config.h"

namespace vramwise::cli {
namespace {

struct Options {
  std::vector<std::string> words;
  bool as_json = false;
};

bool has_all(const std::string& name, const std::string& architecture, const std::vector<std::string>& words) {
  return std::all_of(words.begin(), words.end(), [&](const std::string& word) {
    return to_lower(name + ' ' + architecture).find(to_lower(word)) != std::string::npos;
  });
}

Outcome models(const Options& options) {
  Json list = Json::array();
  std::string text;
  for (const CatalogueModel& model : model_catalogue()) {
    const Json config = Json::parse(model.config);
    const auto architecture =
        config.at(config.contains("model_type") ? "model_type" : "_class_name").get<std::string>();
    for (const std::string& name : model.names) {
      if (!has_all(name, architecture, options.words)) continue;
      list.push_back({{"name", name}, {"parameters", model.parameters}, {"config", config}});
      text += fmt::format("{:<52} {:>8}  {}\n", name, format_count(model.parameters), architecture);
    }
  }
  if (options.as_json) {
    fmt::print("{}\n", Json({{"schema", "vramwise.models"}, {"schema_version", 1}, {"models", list}}).dump(2));
  } else {
    fmt::print("{}", text.empty() ? "no model of the catalogue has these words\n" : text);
  }
  return kExitDone;
}

}  // namespace

void add_models_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("models", "The models that `estimate` knows by name");
  auto options = std::make_shared<Options>();
  command->add_option("words", options->words, "Only models whose name and architecture have all of these");
  command->add_flag("--json", options->as_json, "Print JSON (docs/formats.md)");
  command->callback([options, &outcome] { outcome = models(*options); });
}

}  // namespace vramwise::cli

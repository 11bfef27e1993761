// A file or folder of that name comes before the catalogue.
#include "cli/named_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <utility>
#include <vector>

#include "io/files.h"
#include "models/catalogue/model_catalogue.h"

namespace vramwise::cli {
namespace {

constexpr std::int64_t kLargestConfig = std::int64_t{16} << 20;

Error unknown_model(const std::string& named) {
  const std::vector<std::string> near = names_like(named);
  const std::string other = near.empty() ? std::string("`vramwise models` lists the names")
                                         : fmt::format("did you mean {}?", fmt::join(near, ", "));
  return usage_error(fmt::format("{} is neither a file nor a model of the catalogue; {}", named, other),
                     "--model takes a name of the catalogue, a model's config.json, or the folder that holds it; "
                     "`vramwise dryrun --gpu CARD -- python your_training.py` measures any model");
}

}  // namespace

Result<NamedModel> read_named_model(const std::string& named) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  NamedModel result;
  if (!fs::exists(named, ignored)) {
    result.path = named;
    const CatalogueModel* known = find_model(named);
    if (known == nullptr) return unknown_model(named);
    result.text = known->config;
    result.is_of_catalogue = true;
    VRAMWISE_ASSIGN_OR_RETURN(result.model, parse_model_config(result.text, named));
    return result;
  }
  result.path = fs::is_directory(named, ignored) ? (fs::path(named) / "config.json").string() : named;
  Result<std::string> text = read_file(result.path, kLargestConfig);
  if (!text.ok()) {
    Error error = text.error();
    error.remedy = "--model takes a model's config.json, or the folder that holds it";
    return error;
  }
  result.text = std::move(*text);
  VRAMWISE_ASSIGN_OR_RETURN(result.model, parse_model_config(result.text, result.path));
  return result;
}

}  // namespace vramwise::cli

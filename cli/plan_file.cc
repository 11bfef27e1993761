// See plan_file.h.
#include "cli/plan_file.h"

#include <fmt/format.h>

#include "io/files.h"
#include "report/plan_json.h"

namespace vramwise::cli {
namespace {
constexpr std::int64_t kLargestFile = std::int64_t{16} << 20;
}  // namespace

Result<Json> read_json_file(const std::string& path) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kLargestFile));
  return parse_json(text, path);
}

Status save_plan(const Plan& plan, const std::string& path) {
  return write_file_atomically(path, plan_json(plan).dump(2) + "\n");
}

void tell_unsaved(const std::string& path) {
  if (!path.empty()) fmt::print(stderr, "{} was not written, as there is no plan\n", path);
}

}  // namespace vramwise::cli

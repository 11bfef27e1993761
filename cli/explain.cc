// vramwise explain: a saved plan, told again.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/plan_file.h"
#include "cli/terminal.h"
#include "report/explain_text.h"

namespace vramwise::cli {
namespace {

Outcome explain(const std::string& path) {
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, read_json_file(path));
  VRAMWISE_ASSIGN_OR_RETURN(const std::string text, explain_text(json, terminal_style()));
  fmt::print("{}", text);
  return kExitDone;
}

}  // namespace

void add_explain_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("explain", "What a saved plan chose, why, and over what");
  auto path = std::make_shared<std::string>();
  command->add_option("plan", *path, "A file of `vramwise plan --save`")->required();
  command->callback([path, &outcome] { outcome = explain(*path); });
}

}  // namespace vramwise::cli

// Flags are normalized before CLI11 sees them, and its errors are put into words of ours afterwards: CLI11 knows
// neither both spellings nor the nearest name.
#include "cli/arguments.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace vramwise::cli {
namespace {

bool is_flag(const std::string& argument) { return argument.size() > 2 && argument.starts_with("--"); }

std::string flag_name(const std::string& argument) { return argument.substr(0, argument.find('=')); }

std::vector<std::string> known_flags(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

std::vector<std::string> known_commands(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

Error unknown_argument(const CLI::App& command, const std::string& argument) {
  if (!is_flag(argument))
    return usage_error(fmt::format("unexpected argument \"{}\"", argument), "Flags begin with --.");
  std::string remedy = fmt::format("`vramwise {} --help` lists the flags.", command.get_name());
  if (const auto near = closest_match(flag_name(argument), known_flags(command)))
    remedy = fmt::format("Did you mean {}? {}", *near, remedy);
  return usage_error(fmt::format("unknown flag {}", flag_name(argument)), remedy);
}

Error unknown_command(const CLI::App& app, const std::string& word) {
  const std::vector<std::string> commands = known_commands(app);
  std::string remedy = fmt::format("Commands: {}.", fmt::join(commands, ", "));
  if (const auto near = closest_match(word, commands)) remedy = fmt::format("Did you mean \"{}\"? {}", *near, remedy);
  return usage_error(fmt::format("unknown command \"{}\"", word), remedy);
}

/// CLI11's own words put into ours, where they are short of a sentence.
std::string plain_words(const CLI::ParseError& error) {
  std::string text = error.what();
  const std::size_t equals = text.find(" = "), colon = text.find(": ");
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr && equals != std::string::npos &&
      colon < equals) {  // "Could not convert: --batch_size = abc"
    return fmt::format("{}: \"{}\" is not a number", text.substr(colon + 2, equals - colon - 2),
                       text.substr(equals + 3));
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr && colon != std::string::npos)
    return fmt::format("{} needs a value", text.substr(0, colon));  // "--vram: 1 required TEXT missing"
  return text;
}

}  // namespace

std::vector<std::string> normalized_arguments(int argc, const char* const* argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  for (std::string& argument : arguments) {
    if (argument == "--") break;
    if (!is_flag(argument)) continue;
    const std::size_t end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin() + 2, argument.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
  }
  return arguments;
}

Error explain_parse_error(const CLI::App& app, const CLI::ParseError& error,
                          const std::vector<std::string>& arguments) {
  const auto chosen = app.get_subcommands();
  const CLI::App& command = chosen.empty() ? app : *chosen.front();
  if (chosen.empty() && !arguments.empty() && !arguments.front().starts_with('-'))
    return unknown_command(app, arguments.front());
  const std::vector<std::string> extras = app.remaining(/*recurse=*/true);
  // A "--" is only left over where something else is wrong before it.
  if (!extras.empty() && extras.front() != "--") return unknown_argument(command, extras.front());
  if (arguments.empty())
    return usage_error("no command was given", fmt::format("Commands: {}.", fmt::join(known_commands(app), ", ")));
  return usage_error(plain_words(error), fmt::format("`vramwise {} --help` lists the flags.", command.get_name()));
}

}  // namespace vramwise::cli

// The command line before and after CLI11: both spellings of a flag, and a suggestion for a flag or command that does
// not exist.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace vramwise::cli {

/// The arguments without the program's name, flags in the spelling that we register: "--vram-auto=x-y" becomes
/// "--vram_auto=x-y". Values and everything after a lone "--" stay as they are.
std::vector<std::string> normalized_arguments(int argc, const char* const* argv);

/// What CLI11 rejected, as an Error of ours: names the flag, and the nearest one that exists. `app` has parsed
/// `arguments`.
Error explain_parse_error(const CLI::App& app, const CLI::ParseError& error, const std::vector<std::string>& arguments);

}  // namespace vramwise::cli

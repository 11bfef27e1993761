// From a folder's names to the files of a data set. Every way in which a folder can be wrong gets a message of its own:
// this is the first thing that goes wrong for people.
#include "data/source_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "io/files.h"

namespace vramwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUnderstood =
    "Understood are train.bin and val.bin (raw uint16 or uint32 tokens), .txt, and .jsonl with a \"text\" field.";

constexpr std::array<std::pair<std::string_view, SourceKind>, 3> kKinds = {
    {{".bin", SourceKind::kTokens}, {".txt", SourceKind::kText}, {".jsonl", SourceKind::kJsonl}}};

std::optional<SourceKind> kind_of(const std::string& name) {
  const std::string extension = to_lower(fs::path(name).extension().string());
  for (const auto& [known, kind] : kKinds)
    if (extension == known) return kind;
  return std::nullopt;
}

bool is_val(const std::string& name) {
  const std::string stem = to_lower(fs::path(name).stem().string());
  return stem == "val" || stem == "valid" || stem == "validation";
}

bool is_train(const std::string& name) { return to_lower(fs::path(name).stem().string()) == "train"; }

/// "a.csv, b.csv, c.csv and 12 more"
std::string name_some(const std::vector<std::string>& names) {
  constexpr std::size_t kNamed = 8;
  if (names.size() <= kNamed) return fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{} and {} more", fmt::join(names.begin(), names.begin() + kNamed, ", "), names.size() - kNamed);
}

Error missing(const std::string& data_dir) {
  // A file that is not there cannot be made by synth.
  if (kind_of(data_dir)) return world_error(fmt::format("the data set {} does not exist", data_dir), "Check the path.");
  return world_error(fmt::format("the data folder {} does not exist", data_dir),
                     fmt::format("vramwise synth --out {}", shell_word(data_dir)));
}

Result<SourceFiles> single_file(const std::string& path) {
  const std::optional<SourceKind> kind = kind_of(path);
  if (!kind) return world_error(fmt::format("{}: the format of this file is not known", path), kUnderstood);
  SourceFiles files;
  files.folder = parent_folder(path);
  files.train.push_back({path, *kind});
  return files;
}

/// The names that matter: visible ones, a folder's with a slash at its end.
Result<std::vector<std::string>> visible_names(const std::string& folder) {
  VRAMWISE_ASSIGN_OR_RETURN(std::vector<std::string> names, list_folder(folder));
  std::erase_if(names, [](const std::string& name) { return name.starts_with('.'); });
  for (std::string& name : names) {
    std::error_code ignored;
    if (fs::is_directory(fs::path(folder) / name, ignored)) name += '/';
  }
  return names;
}

/// Files of one kind, or of the two kinds of text together.
struct Choice {
  std::vector<std::string> train;
  std::vector<std::string> val;
};

Choice choose(const std::vector<std::string>& known) {
  Choice choice;
  for (const auto& [extension, kind] : kKinds) {
    for (const std::string& name : known) {
      if (kind_of(name) != kind) continue;
      if (is_train(name)) choice.train.push_back(name);
      if (is_val(name)) choice.val.push_back(name);
    }
    if (!choice.train.empty()) return choice;
    choice = {};
  }
  for (const std::string& name : known) {
    if (kind_of(name) == SourceKind::kTokens) continue;
    (is_val(name) ? choice.val : choice.train).push_back(name);
  }
  return choice;
}

Error nothing_usable(const std::string& folder, const std::vector<std::string>& names) {
  if (names.empty())
    return world_error(fmt::format("the data folder {} is empty", folder),
                       fmt::format("vramwise synth --out {}", shell_word(folder)));
  return world_error(
      fmt::format("the data folder {} holds no training data that is understood (found: {})", folder, name_some(names)),
      kUnderstood);
}

}  // namespace

std::string shell_word(const std::string& path) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-./+,:=@%").find(c) != std::string_view::npos;
  };
  if (!path.empty() && std::all_of(path.begin(), path.end(), is_plain)) return path;
  std::string quoted = "'";
  for (const char c : path) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

Result<SourceFiles> find_source_files(const std::string& data_dir) {
  std::error_code failure;
  const fs::file_status status = fs::status(data_dir, failure);
  if (status.type() == fs::file_type::not_found) return missing(data_dir);
  if (failure) return file_error("read", data_dir, failure.value());
  if (!fs::is_directory(status)) return single_file(data_dir);

  VRAMWISE_ASSIGN_OR_RETURN(const std::vector<std::string> names, visible_names(data_dir));
  std::vector<std::string> known;
  std::copy_if(names.begin(), names.end(), std::back_inserter(known),
               [](const std::string& name) { return !name.ends_with('/') && kind_of(name).has_value(); });
  const Choice choice = choose(known);
  if (choice.train.empty()) return nothing_usable(data_dir, names);

  SourceFiles files;
  files.folder = data_dir;
  const auto as_files = [&](const std::vector<std::string>& chosen, std::vector<SourceFile>& out) {
    for (const std::string& name : chosen) {
      out.push_back({join_path(data_dir, name), *kind_of(name)});
      std::erase(known, name);
    }
  };
  as_files(choice.train, files.train);
  as_files(choice.val, files.val);
  files.left_aside = std::move(known);
  return files;
}

}  // namespace vramwise

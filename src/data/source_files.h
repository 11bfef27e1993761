// Which files of a folder are the training and the validation set, and of what kind. Looks at names only.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace vramwise {

enum class SourceKind { kTokens, kText, kJsonl };

struct SourceFile {
  std::string path;
  SourceKind kind = SourceKind::kText;
};

struct SourceFiles {
  std::string folder;                   ///< that holds them
  std::vector<SourceFile> train;        ///< never empty; token files and texts are not mixed
  std::vector<SourceFile> val;          ///< empty: to be held out of train
  std::vector<std::string> left_aside;  ///< names of files of a kind that is understood, and which are not used
};

/// `data_dir` may be a single file, which is then the training set. In a folder, the first of train.bin, train.txt,
/// train.jsonl is it, with val.* (or valid.*, validation.*) of the same kind beside it; where there is none of them,
/// all .txt and .jsonl files in the order of their names. Hidden files and sub-folders are not looked at. Errors
/// (kWorld): missing, unreadable, empty, nothing that is understood.
Result<SourceFiles> find_source_files(const std::string& data_dir);

/// `path` as a word of a shell command: in quotes where it needs them.
std::string shell_word(const std::string& path);

}  // namespace vramwise

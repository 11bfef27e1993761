// --gradient_checkpointing of a Hugging Face model.
#pragma once

#include <string>

#include "base/result.h"
#include "models/model.h"

namespace vramwise::cli {

/// "all", "none", "selective", "every-N" or how many of the first of so many layers. Errors: none of these.
Result<Checkpointing> parse_checkpointing(const std::string& text, int layers);
std::string checkpointing_text(const Checkpointing& checkpointing);  ///< for people

}  // namespace vramwise::cli

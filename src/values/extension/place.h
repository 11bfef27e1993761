// Where in the program a call comes from.
#pragma once

#include <string>

namespace vramwise::values {

/// "file.py:12 in forward": the innermost Python frame of this thread that is not PyTorch's own. Empty: there is none
/// (a thread of autograd), or PyTorch records no stacks here. Takes the interpreter's lock.
std::string calling_line();

}  // namespace vramwise::values

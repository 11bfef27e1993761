// By PyTorch's own record of Python's frames, the one behind its memory history.
#include "values/extension/place.h"

#include <torch/csrc/profiler/combined_traceback.h>

#include <algorithm>

namespace vramwise::values {
namespace {

// "<string>" and the like have no lines to show.
bool is_of_program(const torch::unwind::Frame& frame) {
  return !frame.filename.empty() && frame.filename.front() != '<' &&
         frame.filename.find("/torch/") == std::string::npos;
}

/// A dry run's own Python, which copies to the host what is saved: nothing is decided by that.
bool is_ours(const torch::unwind::Frame& frame) { return frame.filename.find("/vramwise_hook/") != std::string::npos; }

}  // namespace

std::string calling_line() {
  const auto captured = torch::CapturedTraceback::gather(/*python=*/true, /*script=*/false, /*cpp=*/false);
  const torch::SymbolizedTracebacks stacks = torch::symbolize({captured.get()});
  if (stacks.tracebacks.empty()) return {};
  const auto& stack = stacks.tracebacks.front();
  const auto found =
      std::find_if(stack.begin(), stack.end(), [&](auto index) { return is_of_program(stacks.all_frames[index]); });
  if (found == stack.end()) return {};
  const torch::unwind::Frame& frame = stacks.all_frames[*found];
  if (is_ours(frame)) return {};
  return frame.filename + ":" + std::to_string(frame.lineno) + " in " + frame.funcname;
}

}  // namespace vramwise::values

// The allocations of two runs, side by side: whether what a program asks for hangs on values that a dry run does not
// compute. The runs differ only in what skipped memory reads as (VRAMWISE_FILL); vramwise_trace.py writes the traces.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace vramwise::values {

/// A line of the program.
struct SourceLine {
  std::string file;
  int line = 0;
  std::string function;

  friend bool operator==(const SourceLine&, const SourceLine&) = default;
};

struct TraceEvent {
  int device = 0;
  std::string action;  ///< as PyTorch's memory history names it: alloc, free_requested, segment_alloc, …
  Bytes size;
  std::optional<std::size_t> line;  ///< in Trace::lines
};

struct Trace {
  std::vector<SourceLine> lines;
  std::vector<TraceEvent> events;
};

/// Reads the text of a trace; `where` (the file's name) begins the message of an error.
Result<Trace> parse_trace(std::string_view text, const std::string& where);

/// Where two traces first ask for something else on one device.
struct TraceDifference {
  struct Side {
    std::string action;  ///< empty: this run had ended
    Bytes size;
    std::optional<SourceLine> line;
  };
  int device = 0;
  std::size_t position = 0;  ///< among the device's events, from 0
  Side first;
  Side second;
};

/// None: on each device both ask for the same in the same order; releases without an allocation between them have none.
/// Which line asks is not compared.
std::optional<TraceDifference> first_difference(const Trace& first, const Trace& second);

/// One sentence for people.
std::string describe(const TraceDifference& difference);

}  // namespace vramwise::values

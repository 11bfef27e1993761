// Events are compared by device, action and size: addresses follow from these, and times differ always.
#include "values/trace.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/text.h"
#include "base/units.h"

namespace vramwise::values {
namespace {

constexpr std::string_view kHeader = "vramwise-trace 1";

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  while (true) {
    const std::size_t tab = line.find('\t');
    fields.push_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return fields;
    line.remove_prefix(tab + 1);
  }
}

template <typename T>
bool read_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool read_line(const std::vector<std::string_view>& fields, Trace& trace) {
  std::size_t number = 0;
  SourceLine line;
  if (fields.size() != 5 || !read_number(fields[1], number) || !read_number(fields[3], line.line)) return false;
  if (number != trace.lines.size()) return false;
  line.file = fields[2];
  line.function = fields[4];
  trace.lines.push_back(std::move(line));
  return true;
}

bool read_event(const std::vector<std::string_view>& fields, Trace& trace) {
  TraceEvent event;
  std::int64_t bytes = 0;
  if (fields.size() != 5 || !read_number(fields[1], event.device) || !read_number(fields[3], bytes)) return false;
  event.action = fields[2];
  event.size = Bytes(bytes);
  if (fields[4] != "-") {
    std::size_t line = 0;
    if (!read_number(fields[4], line) || line >= trace.lines.size()) return false;
    event.line = line;
  }
  trace.events.push_back(std::move(event));
  return true;
}

using ByDevice = std::map<int, std::vector<const TraceEvent*>>;

/// What is released one after the other is free afterwards, whichever went first; and which did may hang on where the
/// host's memory lies, as in autocast's cache of weights.
void order_releases(std::vector<const TraceEvent*>& events) {
  const auto is_release = [](const TraceEvent* event) { return event->action == "free_requested"; };
  for (auto begin = events.begin(); begin != events.end();) {
    begin = std::find_if(begin, events.end(), is_release);
    const auto end = std::find_if_not(begin, events.end(), is_release);
    std::sort(begin, end, [](const TraceEvent* a, const TraceEvent* b) { return a->size < b->size; });
    begin = end;
  }
}

ByDevice by_device(const Trace& trace) {
  ByDevice result;
  for (const TraceEvent& event : trace.events) result[event.device].push_back(&event);
  for (auto& [device, events] : result) order_releases(events);
  return result;
}

bool same(const TraceEvent* a, const TraceEvent* b) { return a->action == b->action && a->size == b->size; }

TraceDifference::Side side(const Trace& trace, const std::vector<const TraceEvent*>& events, std::size_t position) {
  if (position >= events.size()) return {};
  const TraceEvent& event = *events[position];
  TraceDifference::Side result{.action = event.action, .size = event.size, .line = std::nullopt};
  if (event.line) result.line = trace.lines[*event.line];
  return result;
}

std::string what(const TraceDifference::Side& side) {
  if (side.action.empty()) return "nothing more";
  return side.action + " of " + std::to_string(side.size.count()) + " bytes";
}

}  // namespace

Result<Trace> parse_trace(std::string_view text, const std::string& where) {
  Trace trace;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    const auto fields = fields_of(line);
    const bool read = number == 1           ? line == kHeader
                      : fields[0] == "line" ? read_line(fields, trace)
                                            : fields[0] == "event" && read_event(fields, trace);
    if (!read) return world_error(where + ": line " + std::to_string(number) + " is no part of an allocation trace");
  }
  if (number == 0) return world_error(where + " is empty", "the run that writes it must reach its end");
  return trace;
}

std::optional<TraceDifference> first_difference(const Trace& first, const Trace& second) {
  ByDevice a = by_device(first);
  ByDevice b = by_device(second);
  for (const auto& entry : b) a.try_emplace(entry.first);
  for (const auto& [device, left] : a) {
    const auto& right = b[device];
    const auto [at, other] = std::mismatch(left.begin(), left.end(), right.begin(), right.end(), same);
    if (at == left.end() && other == right.end()) continue;
    const auto position = static_cast<std::size_t>(at - left.begin());
    return TraceDifference{.device = device,
                           .position = position,
                           .first = side(first, left, position),
                           .second = side(second, right, position)};
  }
  return std::nullopt;
}

std::string describe(const TraceDifference& difference) {
  std::string text = "what is allocated on GPU " + std::to_string(difference.device) +
                     " hangs on values that a dry run does not compute";
  const auto& line = difference.first.line ? difference.first.line : difference.second.line;
  if (line) text += ": " + line->file + ":" + std::to_string(line->line) + " (" + line->function + ")";
  return text + "; " + what(difference.first) + " in one run, " + what(difference.second) + " in the other";
}

}  // namespace vramwise::values

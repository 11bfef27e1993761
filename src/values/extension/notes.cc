// Counters by operator. The JSON is written by hand: this file is compiled where nlohmann/json may not be.
#include "values/extension/notes.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>

namespace vramwise::values {
namespace {

/// operator, rows, taken, choices
using Routed = std::tuple<std::string, std::int64_t, std::int64_t, std::int64_t>;

/// Of the calls at one place: the most that could have been found, and what it was taken for then.
struct Sized {
  std::int64_t taken = 0;
  std::int64_t most = 0;
  std::int64_t times = 0;
};

struct Notes {
  std::mutex mutex;
  std::unordered_map<std::string, std::int64_t> runs;
  std::map<Routed, std::int64_t> routed;
  std::map<std::pair<std::string, std::string>, Sized> sized;  ///< operator and place
  std::map<std::string, std::int64_t> read;                    ///< by place
  std::map<std::string, std::int64_t> mirrored;
  std::map<std::string, std::int64_t> assumed_finite;
  std::map<std::string, std::int64_t> random;
  std::map<std::pair<std::string, std::string>, std::int64_t> failed;  ///< operator and reason
};

Notes& notes() {
  static auto* instance = new Notes;
  return *instance;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      result += ' ';
    } else {
      result += c;
    }
  }
  return result + "\"";
}

std::string member(const char* key, const std::string& value) { return quoted(key) + ": " + value; }
std::string number(std::int64_t value) { return std::to_string(value); }

std::string counts(const std::map<std::string, std::int64_t>& by_operator) {
  std::string result;
  for (const auto& [name, times] : by_operator)
    result += (result.empty() ? "" : ", ") + member(name.c_str(), number(times));
  return "{" + result + "}";
}

std::string routed_list(const Notes& all) {
  std::string result;
  for (const auto& [key, times] : all.routed) {
    const auto& [name, rows, taken, choices] = key;
    result += (result.empty() ? "{" : ", {") + member("operator", quoted(name)) + ", " + member("rows", number(rows)) +
              ", " + member("taken", number(taken)) + ", " + member("choices", number(choices)) + ", " +
              member("times", number(times)) + "}";
  }
  return "[" + result + "]";
}

std::string sized_list(const Notes& all) {
  std::string result;
  for (const auto& [key, sized] : all.sized) {
    result += (result.empty() ? "{" : ", {") + member("operator", quoted(key.first)) + ", " +
              member("place", quoted(key.second)) + ", " + member("taken", number(sized.taken)) + ", " +
              member("most", number(sized.most)) + ", " + member("times", number(sized.times)) + "}";
  }
  return "[" + result + "]";
}

std::string failed_list(const Notes& all) {
  std::string result;
  for (const auto& [key, times] : all.failed) {
    result += (result.empty() ? "{" : ", {") + member("operator", quoted(key.first)) + ", " +
              member("why", quoted(key.second)) + ", " + member("times", number(times)) + "}";
  }
  return "[" + result + "]";
}

}  // namespace

Routing routing() {
  static const Routing kChosen = [] {
    const char* text = std::getenv("VRAMWISE_ROUTING");
    return text != nullptr && std::strcmp(text, "worst") == 0 ? Routing::kWorst : Routing::kBalanced;
  }();
  return kChosen;
}

void note_run(const std::string& operator_name) {
  const std::lock_guard<std::mutex> lock(notes().mutex);
  ++notes().runs[operator_name];
}

void note_routed(const std::string& operator_name, std::int64_t rows, std::int64_t taken, std::int64_t choices) {
  const std::lock_guard<std::mutex> lock(notes().mutex);
  ++notes().routed[{operator_name, rows, taken, choices}];
}

void note_sized(const std::string& operator_name, const std::string& place, std::int64_t taken, std::int64_t most) {
  const std::lock_guard<std::mutex> lock(notes().mutex);
  Sized& sized = notes().sized[{operator_name, place}];
  ++sized.times;
  if (most < sized.most) return;
  sized.taken = taken;
  sized.most = most;
}

void note_read(const std::string& place) {
  const std::lock_guard<std::mutex> lock(notes().mutex);
  ++notes().read[place];
}

void note_mirrored(const std::string& operator_name) {
  const std::lock_guard<std::mutex> lock(notes().mutex);
  ++notes().mirrored[operator_name];
}

void note_assumed_finite(const std::string& operator_name) {
  const std::lock_guard<std::mutex> lock(notes().mutex);
  ++notes().assumed_finite[operator_name];
}

void note_random(const std::string& operator_name) {
  const std::lock_guard<std::mutex> lock(notes().mutex);
  ++notes().random[operator_name];
}

void note_failed(const std::string& operator_name, const std::string& why) {
  const std::lock_guard<std::mutex> lock(notes().mutex);
  ++notes().failed[{operator_name, why.substr(0, why.find('\n'))}];
}

}  // namespace vramwise::values

const char* vramwise_values_report() {
  using namespace vramwise::values;
  static thread_local std::string text;
  Notes& all = notes();
  const std::lock_guard<std::mutex> lock(all.mutex);
  text = "{" + member("run", counts({all.runs.begin(), all.runs.end()})) + ", " +
         member("routing", quoted(routing() == Routing::kWorst ? "worst" : "balanced")) + ", " +
         member("routed", routed_list(all)) + ", " + member("sized", sized_list(all)) + ", " +
         member("read", counts(all.read)) + ", " + member("mirrored", counts(all.mirrored)) + ", " +
         member("assumed_finite", counts(all.assumed_finite)) + ", " + member("random", counts(all.random)) + ", " +
         member("failed", failed_list(all)) + "}";
  return text.c_str();
}

// Memory grows about linearly with most arguments, so two values that fit say where the card ends. Such a guess is
// tried with its neighbour; when it was wrong, plain bisection goes on.
#include "dryrun/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"
#include "base/units.h"

namespace vramwise {
namespace {

constexpr std::size_t kMostValues = 1'000'000;

Error bad_range(const std::string& text) {
  return usage_error(fmt::format("\"{}\" says nothing to try", text),
                     "Write --fit '--bs {1..256}', '--bs {8..256*8}' for multiples of 8, or '--bs {1,2,4,8}'.");
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// "1,2,4"
std::optional<std::vector<std::int64_t>> listed(const std::string& text) {
  std::vector<std::int64_t> values;
  for (const std::string& part : split(text, ',')) {
    const auto value = parse_integer(part);
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

/// "1..256", "8..256*8"
std::optional<std::vector<std::int64_t>> ranged(const std::string& text) {
  const std::size_t dots = text.find(".."), star = text.find('*');
  if (dots == std::string::npos) return std::nullopt;
  const auto first = parse_integer(text.substr(0, dots));
  const auto last = parse_integer(text.substr(dots + 2, star == std::string::npos ? star : star - dots - 2));
  const auto step = star == std::string::npos ? std::optional<std::int64_t>(1) : parse_integer(text.substr(star + 1));
  if (!first || !last || !step || *step < 1 || *first > *last) return std::nullopt;
  if (static_cast<std::size_t>(*last - *first) / static_cast<std::size_t>(*step) > kMostValues) return std::nullopt;
  std::vector<std::int64_t> values;
  for (std::int64_t value = *first; value <= *last; ++value) {
    if (value % *step == 0) values.push_back(value);
  }
  return values;
}

Bytes peak_of(const DryRun& run) {
  Bytes peak;
  for (const DryRunGpu& gpu : run.gpus) peak = std::max(peak, gpu.device_peak);
  return peak;
}

/// The card that has least left.
const DryRunGpu* tightest(const DryRun& run) {
  const auto least = std::min_element(run.gpus.begin(), run.gpus.end(),
                                      [](const DryRunGpu& a, const DryRunGpu& b) { return a.left() < b.left(); });
  return least == run.gpus.end() ? nullptr : &*least;
}

class Search {
 public:
  Search(const FitQuestion& question, const std::function<Result<DryRun>(std::int64_t)>& run)
      : values_(question.values), run_(run) {}

  Result<FitAnswer> search() {
    VRAMWISE_ASSIGN_OR_RETURN(const bool some, fits(0));
    if (some && values_.size() > 1) {
      std::size_t low = 0, high = values_.size();  // low fits; high does not, or is beyond the end
      while (high - low > 1 && !interrupted_) {
        const std::size_t next = choose(low, high);
        VRAMWISE_ASSIGN_OR_RETURN(const bool good, fits(next));
        (good ? low : high) = next;
      }
    }
    return answer();
  }

 private:
  Result<bool> fits(std::size_t index) {
    VRAMWISE_ASSIGN_OR_RETURN(DryRun run, run_(values_[index]));
    const auto [trial, unused] = trials_.emplace(index, FitTrial{.value = values_[index], .run = std::move(run)});
    interrupted_ = trial->second.run.verdict == DryRunVerdict::kInterrupted;
    return trial->second.fits();
  }

  /// Strictly between the two.
  std::size_t choose(std::size_t low, std::size_t high) {
    const std::size_t middle = low + (high - low) / 2;
    const auto guess = guess_from_peaks();
    // Every second time the middle: a bad guess costs no more than that.
    guessed_ = guess.has_value() && !guessed_;
    if (!guessed_) return middle;
    return std::clamp(*guess, low + 1, high - 1);
  }

  /// The largest index that a line through the two largest values that fitted keeps within the card.
  std::optional<std::size_t> guess_from_peaks() const {
    const FitTrial* small = nullptr;
    const FitTrial* large = nullptr;
    for (const auto& [unused, trial] : trials_) {
      if (!trial.fits()) continue;
      small = large;
      large = &trial;
    }
    if (small == nullptr) return std::nullopt;
    const DryRunGpu* card = tightest(large->run);
    const double grown = static_cast<double>((peak_of(large->run) - peak_of(small->run)).count());
    if (card == nullptr || grown <= 0) return std::nullopt;
    const double each = grown / static_cast<double>(large->value - small->value);
    const auto most = static_cast<double>(large->value) + static_cast<double>(card->left().count()) / each;
    const auto above = std::upper_bound(values_.begin(), values_.end(), most, [](double limit, std::int64_t value) {
      return limit < static_cast<double>(value);
    });
    return above == values_.begin() ? 0 : static_cast<std::size_t>(above - values_.begin()) - 1;
  }

  FitAnswer answer() {
    FitAnswer answer;
    answer.interrupted = interrupted_;
    for (auto& [unused, trial] : trials_) {
      if (trial.fits()) answer.largest = answer.trials.size();
      answer.trials.push_back(std::move(trial));
    }
    for (std::size_t i = 1; i < answer.trials.size(); ++i) {
      const FitTrial& less = answer.trials[i - 1];
      const FitTrial& more = answer.trials[i];
      const bool shrinks = less.fits() && more.fits() && peak_of(more.run) < peak_of(less.run);
      if (shrinks || (!less.fits() && more.fits())) answer.is_monotonic = false;
    }
    return answer;
  }

  const std::vector<std::int64_t>& values_;
  const std::function<Result<DryRun>(std::int64_t)>& run_;
  std::map<std::size_t, FitTrial> trials_;
  bool guessed_ = false;
  bool interrupted_ = false;
};

}  // namespace

Result<FitQuestion> parse_fit(const std::string& text) {
  FitQuestion question;
  std::string rest = text;
  if (const std::size_t space = text.find(' '); space != std::string::npos) {
    question.flag = text.substr(0, space);
    rest = text.substr(text.find_first_not_of(' ', space));
  } else if (const std::size_t equals = text.find('='); text.starts_with("--") && equals != std::string::npos) {
    question.flag = text.substr(0, equals);
    rest = text.substr(equals + 1);
  }
  question.word = rest;
  const std::size_t open = rest.find('{'), close = rest.find('}');
  if (open == std::string::npos || close == std::string::npos || close < open ||
      rest.find('{', open + 1) != std::string::npos || rest.find(' ') != std::string::npos)
    return bad_range(text);
  const std::string inside = rest.substr(open + 1, close - open - 1);
  auto values = inside.find("..") == std::string::npos ? listed(inside) : ranged(inside);
  if (!values || values->empty()) return bad_range(text);
  std::sort(values->begin(), values->end());
  values->erase(std::unique(values->begin(), values->end()), values->end());
  question.values = std::move(*values);
  return question;
}

std::vector<std::string> with_value(const std::vector<std::string>& command, const FitQuestion& question,
                                    std::int64_t value) {
  std::string word = question.word;
  word.replace(word.find('{'), word.find('}') - word.find('{') + 1, std::to_string(value));
  std::vector<std::string> changed = command;
  bool found = false;
  for (std::size_t i = 0; i < changed.size(); ++i) {
    if (question.flag.empty() ? changed[i] == question.word : i > 0 && command[i - 1] == question.flag) {
      changed[i] = word;
      found = true;
    } else if (!question.flag.empty() && changed[i].starts_with(question.flag + "=")) {
      changed[i] = question.flag + "=" + word;
      found = true;
    }
  }
  if (found) return changed;
  if (!question.flag.empty()) changed.push_back(question.flag);
  changed.push_back(word);
  return changed;
}

int FitAnswer::exit_code() const {
  if (interrupted) {
    const auto trial =
        std::ranges::find_if(trials, [](const FitTrial& t) { return t.run.verdict == DryRunVerdict::kInterrupted; });
    return trial->run.exit_code();
  }
  if (largest) return 0;
  return trials.empty() ? static_cast<int>(ErrorCode::kIncomplete) : trials.front().run.exit_code();
}

Result<FitAnswer> find_largest(const FitQuestion& question, const std::function<Result<DryRun>(std::int64_t)>& run) {
  return Search(question, run).search();
}

std::string describe(const FitQuestion& question, const FitAnswer& answer) {
  const std::string name = question.flag.empty() ? question.word : question.flag;
  std::string text = fmt::format("{:>12}  {:<18}{:>12}{:>12}{:>12}{:>12}\n", name, "verdict", "allocated", "reserved",
                                 "device", "left");
  for (const FitTrial& trial : answer.trials) {
    const DryRunGpu* gpu = tightest(trial.run);
    const auto size = [&](const std::optional<DryRunPeak>& peak) {
      return peak ? format_size(peak->bytes) : std::string("-");
    };
    const bool measured = gpu != nullptr && trial.fits();
    text += fmt::format("{:>12}  {:<18}{:>12}{:>12}{:>12}{:>12}\n", trial.value, to_string(trial.run.verdict),
                        measured ? size(gpu->allocated) : "-", measured ? size(gpu->reserved) : "-",
                        measured ? format_size(gpu->device_peak) : "-", measured ? format_size(gpu->left()) : "-");
  }
  if (!answer.is_monotonic)
    text += "More does not always take more here, so a larger value that was not tried may fit.\n";
  if (answer.interrupted) {
    return text + (answer.largest ? fmt::format("Interrupted; the largest {} that was tried and fits: {}.\n", name,
                                                answer.trials[*answer.largest].value)
                                  : "Interrupted, before a value was found that fits.\n");
  }
  if (!answer.largest) return text + fmt::format("No value of {} fits.\n", name);
  const bool is_last = answer.trials[*answer.largest].value == question.values.back();
  return text + fmt::format("The largest {} that fits: {}{}\n", name, answer.trials[*answer.largest].value,
                            is_last ? ", the last one of the range." : ".");
}

Json to_json(const FitQuestion& question, const FitAnswer& answer) {
  Json tried = Json::array();
  for (const FitTrial& trial : answer.trials) {
    Json entry = to_json(trial.run);
    entry["value"] = trial.value;
    tried.push_back(std::move(entry));
  }
  return {{"fit", question.flag.empty() ? question.word : question.flag},
          {"largest", answer.largest ? Json(answer.trials[*answer.largest].value) : Json(nullptr)},
          {"is_monotonic", answer.is_monotonic},
          {"interrupted", answer.interrupted},
          {"tried", std::move(tried)}};
}

}  // namespace vramwise

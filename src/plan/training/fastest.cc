// See fastest.h.
#include "plan/training/fastest.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace vramwise {
namespace {

constexpr std::int64_t kLookBeyond = 8;  // part of what is usable

}  // namespace

Result<TrainingChoice> FastestSearch::fastest(Bytes usable) {
  usable_ = usable;
  best_.reset();
  lines_ = {};
  // Of equals those first that lose less memory: of the others no more is asked than the numbers of layers with which
  // they would come before.
  const bool prefers_expandable = last_excess_[1].value_or(0) <= last_excess_[0].value_or(0);
  for (std::size_t option = 0; option < space_.options.size(); ++option) {
    if (!judge_.may_fit(option, usable) || !judge_.is_possible(option)) continue;
    for (std::size_t size = 0; size < space_.micro_batches.size(); ++size) {
      if (judge_.is_excluded(space_.micro_batches[size])) continue;
      Line line{.candidate = {.option = option, .micro_batch = space_.micro_batches[size]}, .size = size};
      line.is_asked_later = has_expandable_segments(line) != prefers_expandable;
      line.seconds = line.hoped = least_seconds(line);
      lines_.push(line);
    }
  }
  while (!lines_.empty()) {
    Line line = lines_.top();
    lines_.pop();
    if (best_ && line.rank() >= best_->line.rank()) continue;
    if (!line.is_seen) {
      look_at(line);
    } else if (const double hoped = hoped_seconds(line); hoped > line.hoped) {
      line.hoped = hoped;
      lines_.push(line);
    } else {
      VRAMWISE_RETURN_IF_ERROR(try_one(line));
    }
  }
  if (!best_) return does_not_fit("");
  return judge_.choice(at(best_->line.candidate, best_->line.from), best_->device);
}

double FastestSearch::least_seconds(const Line& line) {
  double least = 0;
  for (std::size_t size = 0; size < line.size; ++size) {
    TrainingCandidate larger = line.candidate;
    larger.micro_batch = space_.micro_batches[size];
    const auto seen = seen_.find({larger.option, size});
    if (seen != seen_.end() && larger.micro_batch % line.candidate.micro_batch == 0)
      least = std::max(least, seen->second);
  }
  return least;
}

void FastestSearch::look_at(Line line) {
  const double least = least_seconds(line);
  if (least > line.seconds) {
    line.seconds = line.hoped = least;
    return lines_.push(line);
  }
  seen_.try_emplace({line.candidate.option, line.size}, judge_.seconds(at(line.candidate, first(line.candidate))));
  const double most = static_cast<double>(usable_.count());
  const auto start = first_index(first(line.candidate), [&](std::size_t index) {
    return judge_.least_device_bytes(at(line.candidate, index)) <= most;
  });
  if (!start) return;
  line.is_seen = true;
  line.next = *start;
  push_from(line, *start);
}

FastestSearch::Line FastestSearch::at_index(Line line, std::size_t index) {
  line.from = index;
  line.next = std::max(line.next, index);
  line.seconds = judge_.seconds(at(line.candidate, index));
  return line;
}

void FastestSearch::push_from(const Line& line, std::size_t from) {
  if (from > last()) return;
  Line pushed = at_index(line, from);
  pushed.hoped = hoped_seconds(pushed);
  lines_.push(pushed);
}

Status FastestSearch::try_one(Line line) {
  const bool is_best = best_ && best_->line.candidate.option == line.candidate.option && best_->line.size == line.size;
  std::size_t index = last_but_all(line.next);
  index = std::min(index, best_ ? last_before(line, best_->line) : hopeful(line).value_or(last()));
  if (is_best) index = below_best(line);
  const TrainingCandidate candidate = at(line.candidate, index);
  // How much is missing tells where to look next, as long as there is nothing to compare with.
  const bool looks_beyond = !best_ && !judge_.is_refused(candidate, usable_);
  const Bytes limit = looks_beyond ? usable_ + Bytes(usable_.count() / kLookBeyond) : usable_;
  VRAMWISE_ASSIGN_OR_RETURN(const std::optional<Bytes> device, judge_.device_within(candidate, limit));
  if (index < last() || last() == 0)
    learn_excess(line, static_cast<double>(device.value_or(limit).count()) - judge_.told_bytes(candidate),
                 device.has_value());
  if (device && *device <= usable_) {
    best_ = Found{.line = at_index(line, index), .device = *device};
    line.next = line.from;
    if (index > line.from) push_from(line, line.from);
    return Done{};
  }
  if (is_best) {
    if (index + 1 < best_->line.from) push_from(line, index + 1);
    return Done{};
  }
  if (index == last()) return Done{};
  line.next = index + 1;
  if (best_) {
    push_from(line, index + 1);
    return Done{};
  }
  line.next = std::min(index + steps_for(line, index, device.value_or(limit) - usable_), last_but_all(index + 1));
  return try_one(at_index(line, index + 1));  // until there is something to compare with
}

void FastestSearch::learn_excess(const Line& line, double excess, bool is_exact) {
  excess_[{line.candidate.option, line.size}] = is_exact ? excess : std::max(expected_excess(line), excess);
  if (is_exact) last_excess_[has_expandable_segments(line) ? 1 : 0] = excess;
}

double FastestSearch::expected_excess(const Line& line) const {
  const auto own = excess_.find({line.candidate.option, line.size});
  if (own != excess_.end()) return own->second;
  const std::size_t kind = has_expandable_segments(line) ? 1 : 0;
  return last_excess_[kind].value_or(last_excess_[1 - kind].value_or(0));
}

std::optional<std::size_t> FastestSearch::hopeful(const Line& line) {
  const double hoped = static_cast<double>(usable_.count()) - expected_excess(line);
  return first_index(line.next,
                     [&](std::size_t index) { return judge_.told_bytes(at(line.candidate, index)) <= hoped; });
}

double FastestSearch::hoped_seconds(const Line& line) {
  const std::optional<std::size_t> index = hopeful(line);
  return index ? judge_.seconds(at(line.candidate, *index)) : std::numeric_limits<double>::infinity();
}

std::size_t FastestSearch::steps_for(const Line& line, std::size_t index, Bytes missing) {
  if (index >= last()) return 1;
  const double saved = judge_.layer_bytes(at(line.candidate, index), at(line.candidate, index + 1));
  const double steps = saved > 0 ? std::ceil(static_cast<double>(missing.count()) / saved) : 1;
  return static_cast<std::size_t>(std::clamp(steps, 1.0, 1e6));
}

std::size_t FastestSearch::below_best(const Line& line) {
  const std::size_t here = best_->line.from;
  const std::size_t hoped = steps_for(line, here - 1, usable_ - best_->device + Bytes(1)) - 1;
  const std::size_t guess = here - std::min(here, std::max<std::size_t>(1, hoped));
  return guess >= line.from ? guess : line.from + (here - 1 - line.from) / 2;
}

std::size_t FastestSearch::last_before(const Line& line, const Line& other) {
  const auto behind =
      first_index(line.from, [&](std::size_t index) { return at_index(line, index).rank() >= other.rank(); });
  return behind ? *behind - 1 : last();
}

std::size_t FastestSearch::first(const TrainingCandidate& candidate) const {
  const bool is_selective = space_.options[candidate.option].settings.checkpointing.is_selective;
  return is_selective && space_.recomputed.front() == 0 && last() > 0 ? 1 : 0;
}

}  // namespace vramwise

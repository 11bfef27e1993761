// See replicas.h.
#include "plan/search/replicas.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <numeric>

namespace vramwise {
namespace {

// Two cards and so few sequences: every split is tried.
constexpr std::int64_t kEverySplit = 24;

constexpr double kNever = std::numeric_limits<double>::infinity();

/// One card's time for a share, in the best number of passes with micro-batches that it allows.
class CardTime {
 public:
  /// `fits`, where there is one, is asked for every micro-batch; without it, those up to `cap` are allowed.
  CardTime(const DecoderPass& pass, std::int64_t cap, std::optional<std::int64_t> fixed_passes,
           std::function<bool(const ReplicaWork&)> fits = nullptr)
      : pass_(pass), cap_(cap), fixed_passes_(fixed_passes), fits_(std::move(fits)) {}

  /// Absent: no micro-batch is allowed.
  std::optional<ReplicaWork> work(std::int64_t share) { return answer(share).work; }
  double seconds(std::int64_t share) { return answer(share).seconds; }

 private:
  struct Answer {
    std::optional<ReplicaWork> work;
    double seconds = kNever;
  };

  /// Shares come up again and again while they are moved between cards.
  const Answer& answer(std::int64_t share) {
    const auto known = known_.find(share);
    return known != known_.end() ? known->second : known_.emplace(share, worked_out(share)).first->second;
  }

  Answer worked_out(std::int64_t share) const {
    std::optional<ReplicaWork> best;
    double least = kNever;
    for (const std::int64_t passes : options(share)) {
      const ReplicaWork other{.sequences = share, .passes = passes};
      const double seconds = seconds_of(pass_, other);
      if (seconds >= least || (fits_ && !fits_(other))) continue;
      least = seconds;
      best = other;
    }
    return {.work = best, .seconds = least};
  }

  std::vector<std::int64_t> options(std::int64_t share) const {
    if (share == 0) return {1};
    if (fits_ && !fixed_passes_) return pass_counts(share);
    const std::int64_t fewest = (share + cap_ - 1) / cap_;
    if (fixed_passes_) return {std::clamp(*fixed_passes_, std::min(fewest, share), share)};
    // Rarely are a few more faster: where they cut the loss's chunks better.
    std::vector<std::int64_t> few;
    for (std::int64_t passes = fewest; passes <= std::min(share, fewest + 2); ++passes) few.push_back(passes);
    return few;
  }

  DecoderPass pass_;
  std::int64_t cap_;
  std::optional<std::int64_t> fixed_passes_;
  std::function<bool(const ReplicaWork&)> fits_;
  std::map<std::int64_t, Answer> known_;
};

/// A time for each card; cards that are alike share theirs.
using CardTimes = std::vector<std::shared_ptr<CardTime>>;

double slowest(const CardTimes& cards, const std::vector<std::int64_t>& shares) {
  double most = 0;
  for (std::size_t i = 0; i < cards.size(); ++i) most = std::max(most, cards[i]->seconds(shares[i]));
  return most;
}

std::vector<std::int64_t> best_of_every_split(const CardTimes& cards, std::int64_t sequences) {
  std::vector<std::int64_t> best;
  double least = 0;
  for (std::int64_t first = 0; first <= sequences; ++first) {
    const std::vector<std::int64_t> shares = {first, sequences - first};
    const double seconds = slowest(cards, shares);
    if (!best.empty() && seconds >= least) continue;
    least = seconds;
    best = shares;
  }
  return best;
}

/// In proportion to speed, then sequences move from the slowest card to another as long as that helps.
std::vector<std::int64_t> by_speed(const CardTimes& cards, std::int64_t sequences) {
  const auto count = static_cast<std::int64_t>(cards.size());
  const std::int64_t even = std::max<std::int64_t>(1, sequences / count);
  std::vector<double> speeds;
  for (const auto& card : cards) speeds.push_back(static_cast<double>(even) / card->seconds(even));
  const double sum = std::accumulate(speeds.begin(), speeds.end(), 0.0);
  std::vector<std::int64_t> shares;
  shares.reserve(speeds.size());
  for (const double speed : speeds)
    shares.push_back(static_cast<std::int64_t>(static_cast<double>(sequences) * speed / sum));
  std::int64_t left = sequences - std::accumulate(shares.begin(), shares.end(), std::int64_t{0});
  for (std::size_t i = 0; left > 0; i = (i + 1) % shares.size(), --left) ++shares[i];

  double least = slowest(cards, shares);
  for (std::int64_t portion = std::max<std::int64_t>(1, sequences / (8 * count)); portion >= 1; portion /= 2) {
    for (bool moved = true; moved;) {
      moved = false;
      std::size_t from = 0;
      for (std::size_t i = 1; i < cards.size(); ++i) {
        if (cards[i]->seconds(shares[i]) > cards[from]->seconds(shares[from])) from = i;
      }
      if (shares[from] < portion) break;
      for (std::size_t to = 0; to < cards.size() && !moved; ++to) {
        if (to == from) continue;
        std::vector<std::int64_t> other = shares;
        other[from] -= portion;
        other[to] += portion;
        const double seconds = slowest(cards, other);
        if (seconds >= least * (1 - 1e-12)) continue;
        least = seconds;
        shares = other;
        moved = true;
      }
    }
  }
  return shares;
}

}  // namespace

double update_of(const DecoderConfig& model, const StepSettings& step, const std::vector<CardPlan>& cards) {
  std::vector<DeviceRates> others;
  const DeviceRates* holder = &cards.front().card.rates;
  for (const CardPlan& card : cards) {
    if (card.holds_optimizer) {
      holder = &card.card.rates;
    } else {
      others.push_back(card.card.rates);
    }
  }
  return update_seconds(model, step, *holder, others);
}

ReplicaSearch::ReplicaSearch(const DecoderConfig& model, const SearchSpace& space, SearchMemory& memory)
    : model_(model), space_(space), memory_(memory) {}

bool ReplicaSearch::fits(const Choice& choice) {
  for (std::size_t i = 0; i < choice.work.size(); ++i) {
    if (!memory_.fits(choice.step_of(i), i, choice.work[i])) return false;
  }
  return true;
}

std::optional<Choice> ReplicaSearch::on_one_card(const StepSettings& step, std::int64_t most, bool must_fit) {
  const CardPlan& card = memory_.cards().front();
  const DecoderPass pass(model_, step, card.card.backend, card.card.rates);
  std::vector<Choice> options;
  for (const std::int64_t passes : pass_counts(space_.sequences)) {
    const ReplicaWork work{.sequences = space_.sequences, .passes = passes};
    if (micro_batch_of(work) > most || (space_.fixed_passes && passes != *space_.fixed_passes)) continue;
    options.push_back({.step = step, .work = {work}, .seconds = seconds_of(pass, work)});
  }
  std::stable_sort(options.begin(), options.end(),
                   [](const Choice& a, const Choice& b) { return a.seconds < b.seconds; });
  const double update = update_of(model_, step, memory_.cards());
  for (Choice& option : options) {
    if (must_fit && !fits(option)) continue;
    option.seconds += update;
    return option;
  }
  return std::nullopt;
}

std::optional<Choice> ReplicaSearch::shared_out(const StepSettings& step, std::vector<std::int64_t> caps,
                                                bool must_fit) {
  const std::vector<CardPlan>& cards = memory_.cards();
  const double update = update_of(model_, step, cards);
  const bool every_split = splits_are_few();
  for (;;) {
    CardTimes times;
    for (std::size_t i = 0; i < cards.size(); ++i) {
      if (caps[i] == 0) return std::nullopt;
      std::size_t like = 0;
      while (like < i && !(caps[like] == caps[i] && cards[like].card.rates == cards[i].card.rates)) ++like;
      if (like < i && !every_split) {
        times.push_back(times[like]);
        continue;
      }
      const DecoderPass pass(model_, step, cards[i].card.backend, cards[i].card.rates);
      std::function<bool(const ReplicaWork&)> fits;
      if (every_split && must_fit)
        fits = [this, &step, i](const ReplicaWork& work) { return memory_.fits(step, i, work); };
      times.push_back(std::make_shared<CardTime>(pass, caps[i], space_.fixed_passes, std::move(fits)));
    }
    const std::vector<std::int64_t> shares =
        every_split ? best_of_every_split(times, space_.sequences) : by_speed(times, space_.sequences);
    Choice choice{.step = step, .work = {}, .seconds = slowest(times, shares) + update};
    if (choice.seconds == kNever) return std::nullopt;
    for (std::size_t i = 0; i < cards.size(); ++i) choice.work.push_back(*times[i]->work(shares[i]));
    bool again = false;
    for (std::size_t i = 0; must_fit && i < cards.size(); ++i) {
      if (memory_.fits(step, i, choice.work[i])) continue;
      caps[i] = micro_batch_of(choice.work[i]) - 1;
      again = true;
    }
    if (!again) return choice;
  }
}

bool ReplicaSearch::splits_are_few() const { return memory_.cards().size() == 2 && space_.sequences <= kEverySplit; }

std::optional<Choice> ReplicaSearch::fastest_that_fits(const StepSettings& step) {
  for (std::size_t i = 0; i < memory_.cards().size(); ++i) {
    const ReplicaWork least{.sequences = memory_.cards().size() == 1 ? 1 : 0};
    if (memory_.at_least(step, i, least) > memory_.cards()[i].usable) return std::nullopt;
  }
  if (space_.fixed_work) {
    std::optional<Choice> choice = fastest(step);
    return choice && fits(*choice) ? choice : std::nullopt;
  }
  if (memory_.cards().size() == 1) return on_one_card(step, space_.sequences, true);
  std::vector<std::int64_t> caps(memory_.cards().size(), space_.sequences);
  if (splits_are_few()) return shared_out(step, caps, true);
  for (std::size_t i = 0; i < caps.size(); ++i) caps[i] = memory_.largest(step, i, space_.sequences);
  return shared_out(step, caps, true);
}

std::optional<Choice> ReplicaSearch::fastest(const StepSettings& step, std::int64_t most) {
  most = std::min(most, space_.sequences);
  const std::vector<CardPlan>& cards = memory_.cards();
  if (space_.fixed_work) {
    Choice choice{.step = step, .work = *space_.fixed_work, .seconds = 0};
    for (std::size_t i = 0; i < cards.size(); ++i) {
      const DecoderPass pass(model_, step, cards[i].card.backend, cards[i].card.rates);
      choice.seconds = std::max(choice.seconds, seconds_of(pass, choice.work[i]));
    }
    choice.seconds += update_of(model_, step, cards);
    return choice;
  }
  if (cards.size() == 1) return on_one_card(step, most, false);
  return shared_out(step, std::vector<std::int64_t>(cards.size(), most), false);
}

}  // namespace vramwise

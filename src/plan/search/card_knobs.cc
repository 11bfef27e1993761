// Each card its own recomputed blocks and its own loss chunk, beside its own micro-batch. What all cards share
// (precision, where the optimizer is) aside, they hang together by their shares of the sequences alone: so each card
// has a fastest way to compute a share that fits its memory, and the shares are split so that the slowest is fastest.
//
// Only what is faster than the best choice so far is looked at. Of two cards every split is, in the order of what it
// could take at best; of more, sequences move from the slowest to another as long as that helps.
#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <memory>
#include <numeric>

#include "cost/decoder_step.h"
#include "plan/search/search.h"

namespace vramwise {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

struct Option {
  double seconds = kNever;
  CardKnobs knobs;
  ReplicaWork work;
};

class CardOptions {
 public:
  CardOptions(const SearchState& state, const StepSettings& shared, std::size_t card)
      : state_(state), shared_(shared), card_(card) {}

  /// Whatever it takes; no option of the share is faster.
  double least(std::int64_t share) {
    if (share == 0) return 0;
    const auto known = least_.find(share);
    if (known != least_.end()) return known->second;
    double seconds = kNever;
    for (const std::int64_t chunk : state_.space.chunks) {
      const CardKnobs knobs{.checkpointed_blocks = state_.space.blocks.front(), .loss_chunk_tokens = chunk};
      for (const std::int64_t passes : pass_counts_of(share))
        seconds = std::min(seconds, seconds_with(knobs, {.sequences = share, .passes = passes}));
    }
    return least_.emplace(share, seconds).first->second;
  }

  /// The fastest that fits, where that takes less than `bound`; else perhaps none.
  const Option& fastest(std::int64_t share, double bound) {
    Searched& searched = searched_[share];
    if (searched.found.seconds < kNever || bound <= searched.bound) return searched.found;
    for (const Option& option : between(share, searched.bound, bound)) {
      if (!state_.memory.fits(with_knobs(shared_, option.knobs), card_, option.work)) continue;
      searched.found = option;
      break;
    }
    searched.bound = bound;
    return searched.found;
  }

 private:
  struct Searched {
    double bound = 0;  ///< nothing below it fits, but for `found`
    Option found;
  };

  double seconds_with(const CardKnobs& knobs, const ReplicaWork& work) {
    const auto of_pass = [&](std::int64_t sequences) {
      const auto [known, is_new] =
          pass_seconds_.try_emplace({knobs.checkpointed_blocks, knobs.loss_chunk_tokens, sequences});
      if (is_new) {
        const Card& card = state_.memory.cards()[card_].card;
        const DecoderPass pass(state_.plan.request.model, with_knobs(shared_, knobs), card.backend, card.rates);
        known->second = pass.seconds(sequences);
      }
      return known->second;
    };
    return seconds_of(of_pass, work);
  }

  std::vector<std::int64_t> pass_counts_of(std::int64_t share) const {
    if (state_.space.fixed_work) return {(*state_.space.fixed_work)[card_].passes};
    if (state_.space.fixed_passes) return {std::min(*state_.space.fixed_passes, share)};
    return pass_counts(share);
  }

  /// Options that take `from` seconds or more, and less than `to`; the fastest first.
  std::vector<Option> between(std::int64_t share, double from, double to) {
    if (share == 0) return {{.seconds = 0, .knobs = knobs_of(shared_), .work = {}}};  // whatever its knobs are
    std::vector<Option> options;
    for (const std::int64_t passes : pass_counts_of(share)) {
      for (const std::int64_t chunk : state_.space.chunks) {
        for (const std::int64_t blocks : state_.space.blocks) {
          const CardKnobs knobs{.checkpointed_blocks = blocks, .loss_chunk_tokens = chunk};
          const ReplicaWork work{.sequences = share, .passes = passes};
          const double seconds = seconds_with(knobs, work);
          if (seconds >= to) break;  // more blocks take longer
          if (seconds >= from) options.push_back({.seconds = seconds, .knobs = knobs, .work = work});
        }
      }
    }
    std::stable_sort(options.begin(), options.end(),
                     [](const Option& a, const Option& b) { return a.seconds < b.seconds; });
    return options;
  }

  const SearchState& state_;
  StepSettings shared_;
  std::size_t card_;
  std::map<std::array<std::int64_t, 3>, double> pass_seconds_;  ///< by blocks, chunk and sequences
  std::map<std::int64_t, double> least_;
  std::map<std::int64_t, Searched> searched_;
};

using Cards = std::vector<std::shared_ptr<CardOptions>>;
using Shares = std::vector<std::int64_t>;

Cards options_of(const SearchState& state, const StepSettings& shared) {
  Cards cards;
  for (std::size_t i = 0; i < state.memory.cards().size(); ++i) {
    std::size_t like = 0;
    while (like < i && !state.memory.alike(like, i)) ++like;
    const bool own = like == i || state.space.fixed_work.has_value();
    cards.push_back(own ? std::make_shared<CardOptions>(state, shared, i) : cards[like]);
  }
  return cards;
}

double slowest(const Cards& cards, const Shares& shares, double bound) {
  double most = 0;
  for (std::size_t i = 0; i < cards.size() && most < bound; ++i)
    most = std::max(most, cards[i]->fastest(shares[i], bound).seconds);
  return most;
}

struct Split {
  double seconds = kNever;  ///< of the slowest card
  Shares shares;
};

/// The fastest split of two cards below `bound`.
Split every_split(const Cards& cards, std::int64_t sequences, double bound) {
  std::vector<Split> splits;
  for (std::int64_t first = 0; first <= sequences; ++first) {
    const double least = std::max(cards[0]->least(first), cards[1]->least(sequences - first));
    if (least < bound) splits.push_back({.seconds = least, .shares = {first, sequences - first}});
  }
  std::stable_sort(splits.begin(), splits.end(), [](const Split& a, const Split& b) { return a.seconds < b.seconds; });
  Split best{.seconds = bound, .shares = {}};
  for (const Split& split : splits) {
    if (split.seconds >= best.seconds) break;
    const double seconds = slowest(cards, split.shares, best.seconds);
    if (seconds < best.seconds) best = {.seconds = seconds, .shares = split.shares};
  }
  return best;
}

/// From `start` on, sequences move away from the slowest card.
Split moved(const Cards& cards, const Shares& start, double bound) {
  const auto sequences = std::accumulate(start.begin(), start.end(), std::int64_t{0});
  Split best{.seconds = slowest(cards, start, kNever), .shares = start};
  if (best.seconds == kNever) return best;
  for (std::int64_t portion = std::max<std::int64_t>(1, sequences / 16); portion >= 1; portion /= 2) {
    for (bool again = true; again;) {
      again = false;
      const auto busy = [&](std::size_t i) { return cards[i]->fastest(best.shares[i], kNever).seconds; };
      std::size_t from = 0;
      for (std::size_t i = 1; i < cards.size(); ++i) {
        if (busy(i) > busy(from)) from = i;
      }
      if (best.shares[from] < portion) break;
      for (std::size_t to = 0; to < cards.size() && !again; ++to) {
        if (to == from) continue;
        Shares other = best.shares;
        other[from] -= portion;
        other[to] += portion;
        const double seconds = slowest(cards, other, best.seconds);
        if (seconds >= best.seconds * (1 - 1e-12)) continue;
        best = {.seconds = seconds, .shares = other};
        again = true;
      }
    }
  }
  return best.seconds < bound ? best : Split{};
}

Shares shares_of(const std::vector<ReplicaWork>& work) {
  Shares shares;
  for (const ReplicaWork& each : work) shares.push_back(each.sequences);
  return shares;
}

Split best_split(const SearchState& state, const Cards& cards, double bound) {
  if (state.space.fixed_work) {
    const Shares shares = shares_of(*state.space.fixed_work);
    const double seconds = slowest(cards, shares, bound);
    return seconds < bound ? Split{.seconds = seconds, .shares = shares} : Split{};
  }
  if (cards.size() == 2) return every_split(cards, state.space.sequences, bound);
  return state.best ? moved(cards, shares_of(state.best->work), bound) : Split{};
}

}  // namespace

void choose_knobs_by_card(SearchState& state) {
  if (state.memory.cards().size() < 2) return;
  for (const StepSettings& shared : state.space.shared) {
    const double update = update_of(state.plan.request.model, shared, state.memory.cards());
    const Cards cards = options_of(state, shared);
    const double bound = state.best ? state.best->seconds - update : kNever;
    const Split split = best_split(state, cards, bound);
    if (split.shares.empty() || split.seconds >= bound) continue;
    Choice choice{.step = shared, .work = {}, .seconds = split.seconds + update};
    // The runner-ups, whose cards have common knobs, are told for the loss chunk that was the best of those.
    if (state.best) choice.step = with_knobs(shared, knobs_of(state.best->step));
    for (std::size_t i = 0; i < cards.size(); ++i) {
      const Option& option = cards[i]->fastest(split.shares[i], bound);
      choice.work.push_back(option.work);
      choice.knobs.push_back(option.knobs);
    }
    state.best = std::move(choice);
  }
}

}  // namespace vramwise

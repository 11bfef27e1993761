// The search as a list of passes over one state: which configurations there are, how fast each could be at best, which
// is the fastest that fits, what it is chosen over.
//
// Times are cheap and memory is dear, so configurations come up in the order of their best possible time; the first
// whose fitting choice no later one can beat is the answer. That is the answer of trying everything. Several cards may
// then have knobs of their own: one that is short of memory recomputes blocks, and the others need not.
#pragma once

#include <optional>
#include <vector>

#include "plan/candidate.h"
#include "plan/search/replicas.h"

namespace vramwise {

struct SearchState {
  Plan& plan;  ///< its request and cards are read; runner_ups and replays are written
  const SearchSpace& space;
  SearchMemory& memory;
  ReplicaSearch& replicas;
  std::vector<Choice> by_speed = {};  ///< the best of each configuration, memory aside
  std::optional<Choice> best = {};
};

struct SearchPass {
  const char* name;
  void (*run)(SearchState& state);
};

/// In order. `fastest` runs all but "keep_memory_free".
const std::vector<SearchPass>& search_passes();

void bound_times(SearchState& state);
void find_fastest(SearchState& state);
void choose_knobs_by_card(SearchState& state);
void keep_memory_free(SearchState& state);
void list_runner_ups(SearchState& state);

/// The choice of the request's strategy. `start`: the batch, length and precision that are kept. Writes the shares of
/// the cards into plan.request. Errors: kDoesNotFit.
Result<Candidate> search_plan(Plan& plan, const Candidate& start);

/// Why: what each knob saves and costs, as decisions of a finished plan.
void explain_search(Plan& plan);

/// The step's device memory on the fullest card, as part of what that card may use; above `most` only some figure that
/// is also above it.
double fullness(SearchMemory& memory, const Choice& choice, double most = 1);
double least_fullness(const SearchMemory& memory, const Choice& choice);

}  // namespace vramwise

// Every row is a plan of its own; nothing is interpolated.
#include "cli/plan_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/cards.h"
#include "cli/terminal.h"
#include "io/files.h"
#include "plan/alternatives.h"
#include "plan/catalogue_card.h"
#include "report/plan_json.h"
#include "report/plan_search_text.h"

namespace vramwise::cli {
namespace {

constexpr std::size_t kMostRecommended = 8;
// The row of the table whose training is compared where no flag says: the middle one.
constexpr Bytes kComparedRow = Bytes::gib(24);

struct Row {
  std::string cards;  ///< as --gpu takes them
  std::optional<Plan> plan;
  std::string why_not;
  std::optional<double> price_hour;

  /// Of a million tokens; absent without a price or a known speed.
  std::optional<double> cost() const {
    if (!plan || !price_hour || !plan->time_is_known) return std::nullopt;
    return *price_hour / 3600 / plan->tokens_per_s() * 1e6;
  }
};

using Prices = std::map<std::string, double>;

Result<Prices> read_prices(const std::string& path) {
  Prices prices;
  if (path.empty()) return prices;
  VRAMWISE_ASSIGN_OR_RETURN(const std::string text, read_file(path));
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, parse_json(text, path));
  if (!json.is_object()) return usage_error(fmt::format("{}: an object was expected", path), R"(As in {"l4": 0.7}.)");
  for (const auto& [card, price] : json.items()) {
    if (!price.is_number() || !(price.get<double>() > 0))
      return usage_error(fmt::format("{}: the price of {} is no number above 0", path, card));
    if (find_gpu(card) == nullptr)
      return usage_error(fmt::format("{}: {} is no card of the catalogue", path, card), "`vramwise gpus` lists them.");
    prices[card] = price.get<double>();
  }
  return prices;
}

Row row_for(const PlanRequest& request, std::string name) {
  Row row{.cards = std::move(name), .plan = std::nullopt, .why_not = {}, .price_hour = std::nullopt};
  Result<Plan> plan = make_plan(request);
  if (plan.ok()) {
    row.plan = std::move(*plan);
  } else {
    row.why_not = plan.error().what;
  }
  return row;
}

Result<std::vector<Row>> compared(const PlanRequest& request, const std::string& list, const Prices& prices) {
  std::vector<Row> rows;
  for (const std::string& item : split(list, ',')) {
    VRAMWISE_ASSIGN_OR_RETURN(const CardSet set, chosen_cards(item));
    PlanRequest other = request;
    other.cards = set.cards;
    other.origin = set.origin;
    rows.push_back(row_for(other, std::string(trim(item))));
    if (const auto price = prices.find(rows.back().cards); price != prices.end())
      rows.back().price_hour = price->second;
  }
  return rows;
}

/// With prices the cheapest tokens first, among the cards that have one; without, the smallest memory first.
std::vector<Row> recommended(const PlanRequest& request, const Prices& prices) {
  std::vector<Row> rows;
  for (const GpuModel* model : trainable_models()) {
    const auto price = prices.find(model->id);
    if (!prices.empty() && price == prices.end()) continue;
    if (prices.empty() && rows.size() == kMostRecommended) break;
    PlanRequest other = request_on(request, *model);
    other.cards.resize(1);
    Row row = row_for(other, model->id);
    if (!row.plan) continue;
    if (!prices.empty()) row.price_hour = price->second;
    rows.push_back(std::move(row));
  }
  if (prices.empty()) return rows;
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    constexpr double kUnknown = 1e300;
    return a.cost().value_or(kUnknown) < b.cost().value_or(kUnknown);
  });
  if (rows.size() > kMostRecommended) rows.resize(kMostRecommended);
  return rows;
}

std::string table_of(const std::vector<Row>& rows, bool first_is_chosen) {
  const bool priced = std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.price_hour.has_value(); });
  std::vector<std::string> headings = {"cards", "usable", "peak", "speed", "<configuration"};
  if (priced) headings.insert(headings.begin() + 4, "a million tokens");
  Table table(headings);
  for (const Row& row : rows) {
    std::vector<std::string> cells = {row.cards};
    if (row.plan) {
      Bytes usable, peak;
      for (const CardPlan& card : row.plan->cards) {
        usable += card.usable;
        peak = std::max(peak, card.ledger.device);
      }
      const std::string speed =
          row.plan->time_is_known ? speed_text(row.plan->tokens_per_s(), true, 0) : std::string("not known");
      cells.insert(cells.end(), {format_size(usable), format_size(peak), speed});
      if (priced) cells.push_back(row.cost() ? fmt::format("{:.3f}", *row.cost()) : "");
      cells.push_back(settings_text(*row.plan));
    } else {
      cells.insert(cells.end(), {"", "does not fit", ""});
      if (priced) cells.emplace_back();
    }
    table.add(std::move(cells), first_is_chosen && &row == &rows.front());
  }
  return table.text(terminal_style());
}

Json json_of(const std::vector<Row>& rows, const Overrides& training) {
  Json list = Json::array();
  for (const Row& row : rows) {
    const std::optional<double> cost = row.cost();
    list.push_back({{"cards", row.cards},
                    {"fits", row.plan.has_value()},
                    {"why_not", row.why_not},
                    {"price_per_million_tokens", cost ? Json(*cost) : Json()},
                    {"plan", row.plan ? plan_json(*row.plan) : Json()}});
  }
  return {{"schema", "vramwise.compare"},
          {"schema_version", 1},
          {"seq_len", *training.seq_len},
          {"effective_batch_size", *training.effective_batch},
          {"rows", list}};
}

}  // namespace

Outcome compare_cards(PlanRequest request, const CompareOptions& options) {
  if (!options.compare.empty() && options.recommend)
    return usage_error("--compare and --recommend are two questions", "Ask one at a time.");
  VRAMWISE_ASSIGN_OR_RETURN(const Prices prices, read_prices(options.prices));
  fix_training(request, guide_row(kComparedRow));
  std::vector<Row> rows;
  if (options.recommend) {
    rows = recommended(request, prices);
  } else {
    VRAMWISE_ASSIGN_OR_RETURN(rows, compared(request, options.compare, prices));
  }
  const bool any = std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.plan.has_value(); });
  const Error none =
      does_not_fit("it fits on none of these cards", "`vramwise plan` says which single changes would fit.");
  if (options.as_json) {
    fmt::print("{}\n", json_of(rows, request.overrides).dump(2));
    return any ? Outcome(kExitDone) : none;
  }
  const std::string same =
      fmt::format("All for {}, {} tokens a sequence, {} sequences a step (--seq_len, --effective_batch)\n",
                  request.model_name, *request.overrides.seq_len, *request.overrides.effective_batch);
  if (options.recommend && any) {
    fmt::print("{} {}\n{}{}",
               prices.empty() ? "The smallest card that holds it:" : "The cheapest card for it:", rows.front().cards,
               same, table_of(rows, true));
  } else {
    fmt::print("{}{}", same, table_of(rows, false));
  }
  return any ? Outcome(kExitDone) : none;
}

}  // namespace vramwise::cli

// Optimizers by name, and events as the Python side writes them.

#include "support.h"

#include <string>
#include <unordered_map>

namespace vramwise::tape {

std::unique_ptr<Optimizer> make_optimizer(const Json& described, std::vector<Tensor> parameters) {
  const std::string name = described.at("name");
  const std::string how = described.value("how", "foreach");
  const StepKind kind = how == "loop" ? StepKind::kLoop : (how == "fused" ? StepKind::kFused : StepKind::kForeach);
  if (name == "adamw") return adamw(std::move(parameters), kind);
  if (name == "muon") return muon(std::move(parameters));
  if (name == "adafactor") return adafactor(std::move(parameters), kind);
  if (name == "adafactor-transformers") return transformers_adafactor(std::move(parameters));
  const auto has = [&name](const char* part) { return name.find(part) != std::string::npos; };
  if (has("lion") || has("8bit") || has("paged")) {
    return bitsandbytes(std::move(parameters),
                        {.kind = has("lion") ? BitsandbytesKind::kLion : BitsandbytesKind::kAdamW,
                         .is_8bit = has("8bit"),
                         .is_paged = has("paged")});
  }
  const SgdOptions options{.momentum = described.value("momentum", 0.0),
                           .weight_decay = described.value("weight_decay", 0.0),
                           .nesterov = described.value("nesterov", false)};
  return sgd(std::move(parameters), options, kind);
}

Json numbers_of(const EventList& events, const std::vector<std::size_t>& places) {
  Json out = Json::array();
  int count = 0;
  std::size_t next = 0;
  for (std::size_t i = 0; i < events.size() && next < places.size(); ++i) {
    if (i == places[next]) {
      out.push_back(count);
      ++next;
    }
    if (events[i].kind == EventKind::kAllocate) ++count;
  }
  return out;
}

Json numbered(const EventList& events) {
  Json out = Json::array();
  std::unordered_map<AllocationId, int> number;
  int count = 0;
  for (const AllocationEvent& event : events) {
    if (event.kind == EventKind::kAllocate) {
      number[event.id] = count++;
      out.push_back({event.bytes});
    } else if (event.kind == EventKind::kFree) {
      const auto found = number.find(event.id);
      out.push_back({-1, found == number.end() ? -1 : found->second});
    }
  }
  return out;
}

}  // namespace vramwise::tape

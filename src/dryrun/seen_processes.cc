// Ledgers tell what each process held at most and, where the processes saw each other, the most of all together. A
// file's age tells who was there at the same time.
#include "dryrun/seen_processes.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/json.h"
#include "io/files.h"

namespace vramwise {
namespace {

namespace fs = std::filesystem;

Result<Bytes> get_bytes(const Json& json, const char* key) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto count, json_get<std::int64_t>(json, key));
  return Bytes(count);
}

/// The ids of those that together took most of a card: all that were there when one of them began.
std::set<std::string> together_on(std::int64_t card, const std::vector<SeenProcess>& processes) {
  const auto peak_of = [&](const SeenProcess& process) {
    const auto found = process.cards.find(card);
    return found == process.cards.end() ? Bytes(0) : found->second.peak;
  };
  std::set<std::string> most;
  Bytes most_bytes(-1);
  for (const SeenProcess& newest : processes) {
    std::set<std::string> there;
    Bytes sum;
    for (const SeenProcess& other : processes) {
      if (!other.is_there(newest.begin)) continue;
      there.insert(other.id);
      sum += peak_of(other);
    }
    if (sum <= most_bytes) continue;
    most_bytes = sum;
    most = std::move(there);
  }
  return most;
}

/// Cards are numbered as CUDA numbers them in the program; where its processes see different ones, by their place among
/// all cards of the machine.
void number_alike(std::vector<SeenProcess>& processes) {
  std::map<std::int64_t, std::int64_t> places;
  bool alike = true;
  for (const SeenProcess& process : processes)
    for (const auto& [index, place] : process.places)
      alike = alike && places.try_emplace(index, place).first->second == place;
  const auto renumber = [](const SeenProcess& process, const auto& of_cards) {
    std::remove_cvref_t<decltype(of_cards)> renumbered;
    for (const auto& [index, value] : of_cards) renumbered.emplace(process.places.at(index), value);
    return renumbered;
  };
  for (SeenProcess& process : processes) {
    if (alike) {
      for (auto& [index, place] : process.places) place = index;
    } else {
      process.cards = renumber(process, process.cards);
      process.together_peaks = renumber(process, process.together_peaks);
    }
  }
}

Status add_card(SeenProcess& process, const Json& device) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto index, json_get<std::int64_t>(device, "index"));
  DryRunShare& held = process.cards[index];
  VRAMWISE_ASSIGN_OR_RETURN(held.peak, get_bytes(device, "peak_bytes"));
  VRAMWISE_ASSIGN_OR_RETURN(held.context, get_bytes(device, "context_bytes"));
  process.refusals[index] = static_cast<std::int64_t>(device.value("out_of_memory", Json::array()).size());
  VRAMWISE_ASSIGN_OR_RETURN(process.places[index], json_get_or(device, "physical_index", index));
  if (device.contains("together_peak_bytes") && !device["together_peak_bytes"].is_null()) {
    VRAMWISE_ASSIGN_OR_RETURN(process.together_peaks[index], get_bytes(device, "together_peak_bytes"));
  }
  return Done{};
}

}  // namespace

std::string id_of_process(const std::string& name) {
  const std::size_t from = name.find('.') + 1;
  return name.substr(from, name.find('.', from) - from);
}

Result<SeenProcesses> SeenProcesses::read(const std::string& folder, const std::vector<std::string>& names) {
  std::vector<SeenProcess> processes;
  for (const std::string& name : names) {
    if (!name.starts_with("ledger.") || !name.ends_with(".json")) continue;
    SeenProcess& process = processes.emplace_back();
    process.id = id_of_process(name);
    std::error_code ignored;
    process.end = fs::last_write_time(join_path(folder, name), ignored);
    const std::string sign = join_path(folder, "alive." + process.id);
    process.begin = path_exists(sign) ? fs::last_write_time(sign, ignored) : fs::file_time_type::min();
    VRAMWISE_ASSIGN_OR_RETURN(const auto text, read_file(join_path(folder, name)));
    VRAMWISE_ASSIGN_OR_RETURN(const auto json, parse_json(text, name));
    for (const Json& device : json.value("devices", Json::array())) VRAMWISE_RETURN_IF_ERROR(add_card(process, device));
  }
  return SeenProcesses(std::move(processes));
}

SeenProcesses::SeenProcesses(std::vector<SeenProcess> processes) : all_(std::move(processes)) {
  number_alike(all_);
  for (const SeenProcess& process : all_)
    for (const auto& [card, unused] : process.cards) on_cards_[card].together = together_on(card, all_);
  for (const SeenProcess& process : all_) {
    for (const auto& [card, held] : process.cards) {
      OnCard& on_card = on_cards_.at(card);
      if (held.peak > Bytes(0) && on_card.together.contains(process.id)) on_card.shares.emplace(process.id, held);
    }
    for (const auto& [card, peak] : process.together_peaks) {
      OnCard& on_card = on_cards_.at(card);
      on_card.together_peak = std::max(on_card.together_peak.value_or(Bytes(0)), peak);
    }
  }
}

const SeenProcess* SeenProcesses::find(const std::string& id) const {
  const auto found = std::ranges::find(all_, id, &SeenProcess::id);
  return found == all_.end() ? nullptr : &*found;
}

std::int64_t SeenProcesses::number(const std::string& id, std::int64_t index) const {
  const SeenProcess* process = find(id);
  if (process == nullptr) return index;
  const auto found = process->places.find(index);
  return found == process->places.end() ? index : found->second;
}

std::int64_t SeenProcesses::refusals(const std::string& id, std::int64_t index) const {
  const SeenProcess* process = find(id);
  if (process == nullptr) return 0;
  const auto found = process->refusals.find(index);
  return found == process->refusals.end() ? 0 : found->second;
}

const OnCard* SeenProcesses::on(std::int64_t card) const {
  const auto found = on_cards_.find(card);
  return found == on_cards_.end() ? nullptr : &found->second;
}

}  // namespace vramwise

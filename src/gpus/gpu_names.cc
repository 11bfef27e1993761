// Each card has several keys. Its id is a base ("a100") and options (memory: "80gb"; form: "sxm"): every choice of the
// options is a key, in both orders, with and without the brand's word ("rtx"); so is its NVML name. A key that several
// cards share means the one whose whole id it is, else the one that kDefaults names, else it is ambiguous.
#include "gpus/gpu_names.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <utility>

#include "base/text.h"

namespace vramwise {
namespace {

constexpr std::array<std::string_view, 16> kMakersWords = {
    "nvidia", "geforce", "tesla",      "amd",     "radeon",   "instinct", "intel", "r",
    "tm",     "gpu",     "generation", "edition", "graphics", "graphic",  "card",  "workstation"};
constexpr std::array<std::string_view, 6> kBrands = {"rtx", "gtx", "rx", "quadro", "jetson", "arc"};

// What most people mean by a name that fits several cards: the variant that came first, or is by far the most common.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kDefaults = {{
    {"rtx3050", "rtx-3050-8gb"},
    {"rtx3060", "rtx-3060-12gb"},
    {"rtx3080", "rtx-3080-10gb"},
    {"rtxa2000", "rtx-a2000-6gb"},
    {"a10040gb", "a100-40gb-sxm"},
    {"a10080gb", "a100-80gb-sxm"},
    {"v10016gb", "v100-16gb-sxm"},
    {"v10032gb", "v100-32gb-sxm"},
    {"p100", "p100-16gb-pcie"},
    {"h100", "h100-80gb-sxm"},
    {"h10080gb", "h100-80gb-sxm"},
    {"h200", "h200-141gb-sxm"},
    {"rtxpro6000", "rtx-pro-6000-blackwell"},
    {"rtx5000", "quadro-rtx-5000"},
}};

/// Words of a name in lower case: runs of letters and digits. "A100-SXM4-80GB" → a100, sxm, 80gb.
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words(1);
  for (const unsigned char c : name) {
    if (std::isalnum(c) != 0 || c == '.') {
      words.back() += static_cast<char>(std::tolower(c));
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  for (std::string& word : words) {
    if (word == "sxm2" || word == "sxm4" || word == "sxm5") word = "sxm";
    if (word == "mobile") word = "laptop";
  }
  std::erase_if(words, [](const std::string& word) {
    return std::find(kMakersWords.begin(), kMakersWords.end(), word) != kMakersWords.end();
  });
  return words;
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += word;
  return all;
}

bool is_option(const std::string& word) {
  const bool memory = word.size() > 2 && word.ends_with("gb") && std::isdigit(static_cast<unsigned char>(word[0])) != 0;
  return memory || word == "sxm" || word == "pcie" || word == "nvl" || word == "blackwell";
}

std::set<std::string> keys_of(const GpuModel& model) {
  std::vector<std::string> base;
  std::vector<std::string> options;
  for (const std::string& word : words_of(model.id)) (is_option(word) ? options : base).push_back(word);
  std::set<std::string> keys = {gpu_name_key(model.name), gpu_name_key(model.id)};
  const std::size_t choices = std::size_t{1} << options.size();
  for (std::size_t choice = 0; choice < choices; ++choice) {
    std::string forward = joined(base);
    std::string backward = forward;
    for (std::size_t i = 0; i < options.size(); ++i) {
      const std::size_t j = options.size() - 1 - i;
      if (((choice >> i) & 1U) != 0) forward += options[i];
      if (((choice >> j) & 1U) != 0) backward += options[j];
    }
    keys.insert({forward, backward});
  }
  std::set<std::string> short_keys;
  for (const std::string& key : keys) {
    for (const std::string_view brand : kBrands) {
      if (key.starts_with(brand)) short_keys.insert(key.substr(brand.size()));
    }
  }
  keys.merge(short_keys);
  return keys;
}

const std::map<std::string, std::vector<const GpuModel*>>& key_index() {
  static const auto kIndex = [] {
    std::map<std::string, std::vector<const GpuModel*>> made;
    for (const GpuModel& model : gpu_catalogue()) {
      for (const std::string& key : keys_of(model)) made[key].push_back(&model);
    }
    return made;
  }();
  return kIndex;
}

/// The key with the brand's word, for looking into kDefaults: "3060" and "rtx3060" mean the same there.
bool same_but_for_brand(std::string_view key, std::string_view full) {
  if (key == full) return true;
  return std::any_of(kBrands.begin(), kBrands.end(), [&](std::string_view brand) {
    return full.starts_with(brand) && full.substr(brand.size()) == key;
  });
}

}  // namespace

std::string gpu_name_key(std::string_view name) { return joined(words_of(name)); }

std::vector<const GpuModel*> gpus_called(std::string_view name) {
  const std::string key = gpu_name_key(name);
  const auto found = key_index().find(key);
  if (key.empty() || found == key_index().end()) return {};
  const std::vector<const GpuModel*>& cards = found->second;
  if (cards.size() == 1) return cards;
  for (const GpuModel* card : cards) {
    if (same_but_for_brand(key, gpu_name_key(card->id))) return {card};
  }
  for (const auto& [short_name, id] : kDefaults) {
    if (same_but_for_brand(key, short_name)) return {find_gpu(id)};
  }
  return cards;
}

std::string closest_gpu_id(std::string_view name) {
  const std::string key = gpu_name_key(name);
  if (key.size() < 2) return {};
  std::vector<std::string> keys;
  for (const auto& [known, cards] : key_index()) keys.push_back(known);
  const std::optional<std::string> close = closest_match(key, keys);
  if (!close) return {};
  const std::vector<const GpuModel*> cards = gpus_called(*close);
  return cards.empty() ? std::string() : cards.front()->id;
}

}  // namespace vramwise

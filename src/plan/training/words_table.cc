// A row a knob, a column a trainer: the first line of each text that stands for what is not plain.
#include <fmt/format.h>

#include <string>
#include <vector>

#include "plan/training/words.h"

namespace vramwise {
namespace {

/// In a cell of Markdown.
std::string in_code(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  if (line.size() < text.size()) line += " …";
  return fmt::format("`{}`", line);
}

std::string cell_of(const Knob& knob, Trainer trainer) {
  std::string cell;
  for (const Words& words : all_words()) {
    if (!is_for(words, trainer, knob.name)) continue;
    if (*words.text == 0 || is_plain(knob, words) || words.place == Place::kImport || words.place == Place::kTrainer)
      continue;
    const std::string text = in_code(words.text);
    if (cell.find(text) == std::string::npos) cell += (cell.empty() ? "" : "; ") + text;
  }
  return cell.empty() ? "no" : cell;
}

}  // namespace

std::string knob_table() {
  std::vector<Trainer> shown;
  for (const std::string& name : trainer_names()) shown.push_back(*parse_trainer(name));
  std::string table = "| knob | changes | values | mathematics | freed by |";
  std::string line = "\n|---|---|---|---|---|";
  for (const Trainer trainer : shown) {
    table += fmt::format(" `{}` |", trainer_name(trainer));
    line += "---|";
  }
  table += line + "\n";
  for (const Knob& knob : training_knobs()) {
    std::string values;
    for (const KnobValue& value : knob.values) values += fmt::format("{}`{}`", values.empty() ? "" : "; ", value.name);
    table +=
        fmt::format("| {} | {} | {} | {} | {} |", knob.name, knob.changes, values, mathematics_text(knob.mathematics),
                    knob.allow == nullptr ? "" : fmt::format("`--allow {}`", knob.allow));
    for (const Trainer trainer : shown) table += fmt::format(" {} |", cell_of(knob, trainer));
    table += '\n';
  }
  return table;
}

}  // namespace vramwise

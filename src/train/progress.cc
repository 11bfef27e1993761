// fmt is kept out of translation units with torch (it brings another version), so this is plain printf.
#include "train/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <ostream>

#include "base/units.h"

namespace vramwise {
namespace {

__attribute__((format(printf, 1, 2))) std::string print(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return text;
}

std::string format_rate(double tokens_per_s) {
  return tokens_per_s < 100'000 ? print("%.0f tok/s", tokens_per_s) : print("%.0fk tok/s", tokens_per_s / 1000);
}

/// "mem 0.91 GiB (peak 1.21, planned 1.35)", or "mem 0.91/1.35 GiB" where there is little room; a device after the
/// other.
std::string format_memory(const std::vector<MemoryReading>& memory, bool brief) {
  std::string text;
  for (const MemoryReading& device : memory) {
    if (!device.now || !device.peak) continue;
    const char* name = memory.size() > 1 ? device.device.c_str() : "mem";
    const bool small = device.predicted_peak < Bytes::gib(1);
    const auto in_unit = [&](Bytes bytes) { return bytes.in_gib() * (small ? 1024 : 1); };
    const int digits = small ? 0 : 2;
    const char* unit = small ? "MiB" : "GiB";
    const double now = in_unit(*device.now), peak = in_unit(*device.peak), predicted = in_unit(device.predicted_peak);
    if (!text.empty()) text += ", ";
    text +=
        brief ? print("%s %.*f/%.*f %s", name, digits, now, digits, predicted, unit)
              : print("%s %.*f %s (peak %.*f, planned %.*f)", name, digits, now, unit, digits, peak, digits, predicted);
  }
  return text;
}

std::string format_facts(const StepReport& r, bool brief) {
  std::string text = print("loss %.4f", r.loss);
  if (r.skipped) text += " (skipped)";
  if (r.tokens_per_s) text += "  " + format_rate(*r.tokens_per_s);
  if (r.seconds_left) text += "  " + format_duration(*r.seconds_left) + " left";
  const std::string memory = format_memory(r.memory, brief);
  if (!memory.empty()) text += "  " + memory;
  return text;
}

std::string eval_line(const EvalReport& r) {
  return print("step %lld  validation loss %.4f  (perplexity %.2f, %lld tokens)", static_cast<long long>(r.step),
               r.val_loss, std::exp(r.val_loss), static_cast<long long>(r.tokens));
}

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::clamp(seconds, 0.0, 1e12)));
  if (whole < 60) return print("%llds", whole);
  if (whole < 3600) return print("%lldm %02llds", whole / 60, whole % 60);
  if (whole < 86400) return print("%lldh %02lldm", whole / 3600, whole % 3600 / 60);
  return print("%lldd %02lldh", whole / 86400, whole % 86400 / 3600);
}

void LineProgress::on_step(const StepReport& r) {
  const bool due = log_every_ > 0 && r.step % log_every_ == 0;
  if (!due && r.step != 1 && r.step != r.max_steps && !r.skipped) return;
  out_ << print("step %lld/%lld  ", static_cast<long long>(r.step), static_cast<long long>(r.max_steps))
       << format_facts(r, /*brief=*/false) << print("  lr %.2e", r.learning_rate) << std::endl;
}
void LineProgress::on_eval(const EvalReport& report) { out_ << eval_line(report) << std::endl; }
void LineProgress::on_note(const std::string& text) { out_ << text << std::endl; }
void LineProgress::on_warning(const std::string& text) { out_ << "warning: " << text << std::endl; }

BarProgress::~BarProgress() {
  if (!bar_.empty()) out_ << std::endl;
}

void BarProgress::on_step(const StepReport& r) {
  const std::string facts = print(" %lld/%lld  ", static_cast<long long>(r.step), static_cast<long long>(r.max_steps)) +
                            format_facts(r, /*brief=*/true);
  // A line that wraps could not be drawn over, so the last column stays free and what is too long is cut.
  const int room = std::max(0, columns_ - 1);
  const int width = std::min(30, room - static_cast<int>(facts.size()) - 2);
  bar_ = facts.substr(width < 4 ? 1 : 0);
  if (width >= 4) {
    const double done = r.max_steps > 0 ? static_cast<double>(r.step) / static_cast<double>(r.max_steps) : 1.0;
    const int filled = static_cast<int>(std::clamp(done, 0.0, 1.0) * width);
    bar_.insert(0, print("[%.*s%.*s]", filled, "##############################", width - filled,
                         ".............................."));
  }
  bar_ = bar_.substr(0, static_cast<std::size_t>(room));
  out_ << "\r\x1b[K" << bar_ << std::flush;
}

void BarProgress::print_above(const std::string& line) { out_ << "\r\x1b[K" << line << "\n" << bar_ << std::flush; }
void BarProgress::on_eval(const EvalReport& report) { print_above(eval_line(report)); }
void BarProgress::on_note(const std::string& text) { print_above(text); }
void BarProgress::on_warning(const std::string& text) { print_above("warning: " + text); }

}  // namespace vramwise

// What a run tells while it goes on, and the two ways to show it: a bar on a terminal, plain lines elsewhere.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "train/memory_probe.h"

namespace vramwise {

struct StepReport {
  std::int64_t step = 0;
  std::int64_t max_steps = 0;
  double loss = 0;  ///< nats a token, before this step's update
  double learning_rate = 0;
  double grad_norm = 0;              ///< before clipping; not finite if the step was skipped
  bool skipped = false;              ///< the gradients overflowed
  std::optional<double> loss_scale;  ///< fp16 only
  double step_seconds = 0;
  std::optional<double> tokens_per_s;  ///< over the last steps, training alone; absent for the first step
  std::optional<double> seconds_left;  ///< of training
  std::vector<MemoryReading> memory;
};

struct EvalReport {
  std::int64_t step = 0;
  double val_loss = 0;  ///< nats a token
  std::int64_t tokens = 0;
};

/// Called from the thread that trains.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  virtual void on_step(const StepReport& report) = 0;
  virtual void on_eval(const EvalReport& report) = 0;
  virtual void on_note(const std::string& text) = 0;     ///< a sentence that is good to know
  virtual void on_warning(const std::string& text) = 0;  ///< something is not as it was asked for
};

/// A line every `log_every` steps.
class LineProgress : public ProgressSink {
 public:
  LineProgress(std::ostream& out, std::int64_t log_every) : out_(out), log_every_(log_every) {}
  void on_step(const StepReport& report) override;
  void on_eval(const EvalReport& report) override;
  void on_note(const std::string& text) override;
  void on_warning(const std::string& text) override;

 private:
  std::ostream& out_;
  std::int64_t log_every_;
};

/// A bar on the last line of a terminal, drawn again with every step, `columns` wide at most; notes stay above it.
class BarProgress : public ProgressSink {
 public:
  BarProgress(std::ostream& out, int columns) : out_(out), columns_(columns) {}
  ~BarProgress() override;
  void on_step(const StepReport& report) override;
  void on_eval(const EvalReport& report) override;
  void on_note(const std::string& text) override;
  void on_warning(const std::string& text) override;

 private:
  void print_above(const std::string& line);

  std::ostream& out_;
  int columns_;
  std::string bar_;
};

/// "1h 02m", "3m 05s", "42s".
std::string format_duration(double seconds);

}  // namespace vramwise

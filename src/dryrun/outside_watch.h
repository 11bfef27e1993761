// Processes with PyTorch that are not on the emulated cards: a program that starts one with an environment of its own
// making leaves out the emulator.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

namespace vramwise {

class OutsideWatch {
 public:
  /// Leaves an empty file outside.PID in `folder` for each process that it meets. `proc`: where the system tells of
  /// processes.
  explicit OutsideWatch(std::string folder, std::string proc = "/proc");

  /// To be called several times a second with a function that lists the processes; looks once a second.
  void operator()(const std::function<std::vector<int>()>& processes);

 private:
  bool is_outside(int process) const;

  std::string folder_;
  std::string proc_;
  int calls_ = 0;
  std::set<int> known_;  ///< to be on the emulated cards, or told already
};

}  // namespace vramwise

// A program that would be killed for want of host memory is ended before, with figures.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "device/system.h"

namespace vramwise {

/// What is left when a program is ended: the rest of the machine needs it.
Bytes host_memory_floor(Bytes total);

/// To be asked again and again. A text: host memory is used up, and it is these processes that have it.
class HostMemoryWatch {
 public:
  /// `resident` gives what a process holds of host memory.
  HostMemoryWatch(std::shared_ptr<System> system, std::function<Bytes(int)> resident)
      : system_(std::move(system)), resident_(std::move(resident)) {}
  /// Of this machine.
  HostMemoryWatch();

  std::string operator()(const std::function<std::vector<int>()>& processes);

 private:
  std::shared_ptr<System> system_;
  std::function<Bytes(int)> resident_;
};

}  // namespace vramwise

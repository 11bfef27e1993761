// The doctor: what about this machine would keep a training run from starting or from its memory, and what to do.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "device/machine.h"
#include "device/system.h"

namespace vramwise {

enum class Severity {
  kOk,       ///< looked at, and fine
  kHint,     ///< worth knowing; nothing is broken
  kWarning,  ///< training runs, with less memory or speed than it could
  kError,    ///< training on the GPU, or at all, does not work as things are
};

/// "ok", "hint", "warning", "error"
const char* severity_key(Severity severity);

struct Finding {
  Severity severity = Severity::kOk;
  std::string what;    ///< one sentence without a full stop at its end
  std::string remedy;  ///< what to do; empty for kOk
};

/// What the PyTorch wheel that the trainer uses needs, and which wheel of the same version serves older machines.
struct WheelNeeds {
  std::string torch = "2.14.1";
  int cuda_version = 13000;                ///< of the wheel: 13.0
  int min_driver_major = 580;              ///< CUDA 13.x: CUDA Toolkit release notes, "minor version compatibility"
  ComputeCapability min_capability{7, 5};  ///< PyTorch RELEASE.md, "CUDA support matrix", 2.12 to 2.14
  std::string older_wheel = "cu126";       ///< same matrix: CUDA 12.6 builds carry 5.0 to 9.0
  int older_min_driver_major = 525;        ///< CUDA 12.x: CUDA Toolkit release notes
  ComputeCapability older_min_capability{5, 0};
  ComputeCapability older_max_capability{9, 0};
};

struct DoctorContext {
  std::string vramwise_version;
  std::optional<std::string> torch_version;  ///< of the environment, where it is known
  std::optional<std::string> glibc_version;  ///< "2.36"
  WheelNeeds wheel;
  Bytes low_disk = Bytes::gib(10);  ///< below: a warning; PyTorch takes 5.5 GiB, checkpoints come on top
};

/// All findings, errors first.
std::vector<Finding> diagnose(const Machine& machine, System& system, const DoctorContext& context);

/// The text of `vramwise doctor`; ends in a newline.
std::string describe(const std::vector<Finding>& findings);
Json to_json(const std::vector<Finding>& findings);

/// A report to attach to a bug report: detect's JSON, findings, versions, the environment variables that matter, and
/// excerpts of /proc. UUIDs, host name, home folder, process names and whatever looks like a secret are replaced; equal
/// UUIDs get equal names ("GPU-#1").
std::string make_bundle(const Machine& machine, System& system, const DoctorContext& context);

}  // namespace vramwise

// The doctor: what about this machine would keep a training run from starting or from its memory, and what to do.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "device/machine.h"
#include "device/system.h"
#include "gpus/cuda_facts.h"

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

struct DoctorContext {
  std::string vramwise_version;
  /// The folder of the PyTorch that the trainer is linked with; nullopt: this build has no trainer.
  std::optional<std::string> torch_folder;
  std::optional<std::string> glibc_version;  ///< "2.36"
  TorchBuild build = default_torch_build();  ///< the wheel that the trainer needs
  Bytes low_disk = Bytes::gib(10);           ///< below: a warning; PyTorch takes 5.5 GiB, checkpoints come on top
};

/// "2.14.1+cu130": what PyTorch's folder says of itself; nullopt where there is none.
std::optional<std::string> torch_version(System& system, const std::string& torch_folder);

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

// Facts about CUDA and PyTorch's CUDA builds that no card's datasheet gives: contexts, workspaces, wheels, drivers.
// Sources stand beside the figures in cuda_facts.cc.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "gpus/catalogue.h"

namespace vramwise {

/// The CUDA of the torch wheel that vramwise installs and tests with. A context differs by some MiB between 12 and 13.
constexpr int kWheelCudaMajor = 13;

/// What a process takes on the card before its first tensor: driver state and the kernels loaded so far. It grows with
/// the kernels that a run loads (lazy loading, CUDA 11.7 and later), so this is the context alone.
struct CudaContext {
  Bytes bytes;
  bool measured = false;  ///< on a card of this capability (and size), under this CUDA major version; else assumed
};

/// `cuda_major` is that of the CUDA that PyTorch was built with: 12 or 13. `units`: multiprocessors of the card, by
/// which the measured contexts grow; without them the answer is that of a measured card of the same capability, or of
/// another one.
CudaContext cuda_context(ComputeCapability capability, int cuda_major, std::optional<int> units = std::nullopt);

/// The cuBLAS workspace that PyTorch's allocator holds, one for each handle and stream (the forward and the backward
/// thread have a handle each).
struct CublasWorkspace {
  Bytes bytes;
  bool config_ignored = false;  ///< CUBLAS_WORKSPACE_CONFIG was set, but nothing in it reads as :SIZE:COUNT
};

/// `config`: the value of CUBLAS_WORKSPACE_CONFIG where it is set. As torch 2.14 reads it: the sum of SIZE (KiB) x
/// COUNT over all :SIZE:COUNT in it.
CublasWorkspace cublas_workspace(ComputeCapability capability, std::optional<std::string_view> config = std::nullopt);

/// cuBLASLt's workspace beyond the one above: none, since torch 2.14 lets cuBLASLt use cuBLAS's (`unified`), unless
/// TORCH_CUBLASLT_UNIFIED_WORKSPACE=0, when it is 1 MiB a handle and stream.
Bytes cublaslt_extra_workspace(bool unified = true);

/// A driver's version: 580.65.06.
struct DriverVersion {
  int major = 0;
  int minor = 0;
  int patch = 0;

  auto operator<=>(const DriverVersion&) const = default;
};

/// "580.65.06" or "535.54"; nullopt for anything else.
std::optional<DriverVersion> parse_driver_version(std::string_view text);
std::string to_string(DriverVersion version);

/// One build of PyTorch for Linux on x86-64.
struct TorchBuild {
  std::string tag;                         ///< "cu130"
  std::string version;                     ///< "2.14.1"
  std::vector<ComputeCapability> kernels;  ///< that it carries machine code for, ascending
  DriverVersion lowest_driver;             ///< on Linux

  /// Machine code runs on cards of its own major capability with the same or a later minor one.
  bool runs_on(ComputeCapability capability) const;
};

/// The build that vramwise installs and trains with: 2.14.1 for CUDA 13.0.
const TorchBuild& default_torch_build();

/// The newest build that runs on a card of that capability under that driver (nullopt: any driver), the default one
/// first; nullptr when none does, or only a newer driver would help.
const TorchBuild* torch_build_for(ComputeCapability capability, std::optional<DriverVersion> driver = std::nullopt);

}  // namespace vramwise

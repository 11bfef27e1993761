// What CUDA_VISIBLE_DEVICES leaves of the cards, as a pure function.
//
// The rules are CUDA's (CUDA programming guide, "CUDA environment variables"; NVIDIA's MIG user guide, "CUDA device
// enumeration"), and where those are silent, those of PyTorch's own parser (torch/cuda/__init__.py,
// _parse_visible_devices):
//  - unset: every card; set and empty: none;
//  - indices, or UUIDs, or MIG names, told by the first entry; an entry of another kind ends the list;
//  - an entry that names nothing ends the list: it and what follows it are invisible;
//  - a number ends at its first other character ("1gpu" is 1); a negative one ends the list;
//  - a UUID may be cut short as long as it is unique ("GPU-8932f937"), MIG: "MIG-<uuid>" or "MIG-GPU-<uuid>/<gi>/<ci>";
//  - a device named twice leaves none;
//  - a process sees at most one MIG instance, and with it no other card; an index of a card in MIG mode means its
//  first.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace vramwise {

struct VisibleCandidate {
  std::string uuid;
  bool mig = false;  ///< in MIG mode: the card itself can't be used, only its instances
  struct Instance {
    std::string uuid;
    std::optional<int> gpu_instance;
    std::optional<int> compute_instance;
  };
  std::vector<Instance> instances;
};

struct VisibleDevices {
  struct Device {
    std::size_t card = 0;
    std::optional<std::size_t> instance;
    bool operator==(const Device&) const = default;
  };
  std::vector<Device> devices;     ///< the position is N of "cuda:N"
  std::vector<std::string> notes;  ///< what was wrong with the list, one sentence each
};

/// `variable`: CUDA_VISIBLE_DEVICES, absent when unset. `cards`: in CUDA's order.
VisibleDevices visible_devices(const std::optional<std::string>& variable, const std::vector<VisibleCandidate>& cards);

}  // namespace vramwise

// Flat buffers to safetensors files and back, one tensor a parameter, without a second copy of the model in memory.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "safetensors/reader.h"
#include "train/flat_parameters.h"

namespace vramwise {

/// A buffer of the layout; its tensors are named prefix + the parameter's name.
struct NamedFlat {
  std::string prefix;
  torch::Tensor flat;
};

/// What a file was when it was written.
struct FileSeal {
  std::int64_t bytes = 0;
  std::uint64_t checksum = 0;
};

/// Errors: the disk is full, or fails.
Result<FileSeal> write_flat(const std::string& path, const FlatLayout& layout, const std::vector<NamedFlat>& buffers);

/// Fills `buffer` from a file; 16-bit and 32-bit floating-point types are converted. A tied output head that the file
/// holds nevertheless is left aside. Errors: a tensor is missing, or of another shape or kind.
Status read_flat(const SafetensorsFile& file, const FlatLayout& layout, const NamedFlat& buffer);

/// Errors: the file at `path` is not the one that was sealed.
Status check_seal(const std::string& path, const FileSeal& seal);

}  // namespace vramwise

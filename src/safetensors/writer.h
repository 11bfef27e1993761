// SafetensorsWriter: a safetensors file written piece by piece, so that no second copy of a model is ever in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/output_file.h"
#include "safetensors/header.h"

namespace vramwise {

class SafetensorsWriter {
 public:
  /// `tensors`: all that the file will hold, in the order in which their data comes; offsets are ignored. Names must be
  /// unique.
  static Result<SafetensorsWriter> create(const std::string& path, const std::vector<TensorInfo>& tensors,
                                          const TensorMetadata& metadata);

  /// The data, in order, cut as it suits the caller. Errors: the disk is full, or fails.
  Status append(std::span<const std::byte> bytes);

  /// Call once, after exactly as many bytes as the tensors have: waits until they are on the disk.
  Status finish();

  std::int64_t file_bytes() const { return file_.size(); }  ///< so far, header included
  std::uint64_t file_checksum() const { return file_.checksum(); }

 private:
  SafetensorsWriter(OutputFile file, std::int64_t data_bytes) : file_(std::move(file)), missing_(data_bytes) {}

  OutputFile file_;
  std::int64_t missing_ = 0;  ///< bytes of data that are still to come
};

}  // namespace vramwise

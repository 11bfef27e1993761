// SafetensorsFile: the tensors of a safetensors file as they lie in it, mapped rather than read.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "data/mapped_file.h"
#include "safetensors/header.h"

namespace vramwise {

class SafetensorsFile {
 public:
  /// Reads and checks the header; data is only touched when it is used. Errors: missing, unreadable, cut short, too
  /// long, a header beyond 100 MB, and those of decode_header. The file must not be cut short while it is open.
  static Result<SafetensorsFile> open(const std::string& path);

  const std::string& path() const { return file_->path(); }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const TensorMetadata& metadata() const { return header_.metadata; }

  /// nullptr if there is none of that name.
  const TensorInfo* find(const std::string& name) const;

  /// The bytes of one of tensors(). They may start at any address: copy them rather than cast.
  std::span<const std::byte> bytes(const TensorInfo& tensor) const;

  /// Takes what was touched out of this process's resident memory.
  void release_pages() const { file_->release_pages(file_->bytes()); }

 private:
  SafetensorsFile(std::shared_ptr<const MappedFile> file, std::size_t data_start, TensorHeader header);

  std::shared_ptr<const MappedFile> file_;
  std::size_t data_start_ = 0;
  TensorHeader header_;
  std::unordered_map<std::string, std::size_t> index_;
};

}  // namespace vramwise

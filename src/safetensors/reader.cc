// The sizes are checked before anything is done with them: length word, header, data, in this order.
#include "safetensors/reader.h"

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

namespace vramwise {

static_assert(std::endian::native == std::endian::little, "tensors are used as they lie in the file");

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  constexpr std::uint64_t kLargestHeader = 100'000'000;
  VRAMWISE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  const auto damaged = [&](const std::string& what) {
    return world_error(fmt::format("{}: not a sound safetensors file: {}", path, what),
                       "It was damaged, or cut short in a copy; fetch or save it again.");
  };
  const std::span<const std::byte> all = file->bytes();
  std::uint64_t header_bytes = 0;
  if (all.size() < sizeof(header_bytes)) return damaged("it is shorter than 8 bytes");
  std::memcpy(&header_bytes, all.data(), sizeof(header_bytes));
  if (header_bytes > kLargestHeader) return damaged(fmt::format("its header would be {} bytes", header_bytes));
  if (header_bytes > all.size() - sizeof(header_bytes)) return damaged("it ends within its header");
  const std::size_t data_start = sizeof(header_bytes) + header_bytes;

  const std::string_view json = file->text().substr(sizeof(header_bytes), header_bytes);
  VRAMWISE_ASSIGN_OR_RETURN(TensorHeader header, decode_header(json, path));
  const auto present = static_cast<std::int64_t>(all.size() - data_start);
  if (header.data_bytes != present) {
    return damaged(fmt::format("it holds {} bytes of data, its header speaks of {}", present, header.data_bytes));
  }
  return SafetensorsFile(std::move(file), data_start, std::move(header));
}

SafetensorsFile::SafetensorsFile(std::shared_ptr<const MappedFile> file, std::size_t data_start, TensorHeader header)
    : file_(std::move(file)), data_start_(data_start), header_(std::move(header)) {
  for (std::size_t i = 0; i < header_.tensors.size(); ++i) index_[header_.tensors[i].name] = i;
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorInfo& tensor) const {
  return file_->bytes().subspan(data_start_ + static_cast<std::size_t>(tensor.offset),
                                static_cast<std::size_t>(tensor.bytes()));
}

}  // namespace vramwise

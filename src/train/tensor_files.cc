// In pieces of 16 MiB: what lies on a GPU, or in a file, passes through little host memory.
#include "train/tensor_files.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "base/check.h"
#include "data/mapped_file.h"
#include "io/checksum.h"
#include "safetensors/writer.h"

namespace vramwise {
namespace {

std::optional<torch::ScalarType> scalar_type(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return torch::kFloat;
    case TensorType::kBF16:
      return torch::kBFloat16;
    case TensorType::kF16:
      return torch::kHalf;
    default:
      return std::nullopt;
  }
}

TensorType tensor_type(torch::ScalarType type) {
  for (const TensorType candidate : {TensorType::kF32, TensorType::kBF16, TensorType::kF16}) {
    if (scalar_type(candidate) == type) return candidate;
  }
  VRAMWISE_CHECK_THAT(false, "a type that no buffer has");
  return TensorType::kF32;
}

constexpr std::int64_t kPiece = std::int64_t{1} << 22;  // elements

/// Calls visit(first element, the piece of `buffer` from there on) for all pieces of one parameter.
template <typename Visit>
Status for_each_piece(const NamedFlat& buffer, const FlatSlot& slot, const Visit& visit) {
  for (std::int64_t at = 0; at < slot.count; at += kPiece) {
    VRAMWISE_RETURN_IF_ERROR(visit(at, buffer.flat.narrow(0, slot.offset + at, std::min(kPiece, slot.count - at))));
    if (buffer.touched) buffer.touched();
  }
  return Done{};
}

std::string shape_text(const std::vector<std::int64_t>& shape) { return c10::str("(", c10::Join(", ", shape), ")"); }

}  // namespace

Result<FileSeal> write_flat(const std::string& path, const FlatLayout& layout, const std::vector<NamedFlat>& buffers) {
  const torch::NoGradGuard no_grad;
  std::vector<TensorInfo> tensors;
  tensors.reserve(buffers.size() * layout.slots().size());
  for (const NamedFlat& buffer : buffers) {
    const TensorType type = tensor_type(buffer.flat.scalar_type());
    for (const FlatSlot& slot : layout.slots()) tensors.push_back({buffer.prefix + slot.name, type, slot.shape});
  }
  // transformers insists on a "format".
  VRAMWISE_ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::create(path, tensors, {{"format", "pt"}}));
  for (const NamedFlat& buffer : buffers) {
    for (const FlatSlot& slot : layout.slots()) {
      VRAMWISE_RETURN_IF_ERROR(for_each_piece(buffer, slot, [&](std::int64_t /*at*/, const torch::Tensor& piece) {
        const torch::Tensor host = piece.cpu();
        return writer.append(
            {static_cast<const std::byte*>(host.const_data_ptr()), static_cast<std::size_t>(host.nbytes())});
      }));
    }
  }
  VRAMWISE_RETURN_IF_ERROR(writer.finish());
  return FileSeal{writer.file_bytes(), writer.file_checksum()};
}

Status read_flat(const SafetensorsFile& file, const FlatLayout& layout, const NamedFlat& buffer) {
  const torch::NoGradGuard no_grad;
  for (const FlatSlot& slot : layout.slots()) {
    const std::string name = buffer.prefix + slot.name;
    const TensorInfo* info = file.find(name);
    if (info == nullptr) {
      return world_error(file.path() + ": there is no tensor \"" + name + "\"",
                         "Is it a model of the same architecture?");
    }
    const auto type = scalar_type(info->type);
    if (!type || info->shape != slot.shape) {
      return world_error(c10::str(file.path(), ": tensor \"", name, "\" is ", tensor_type_name(info->type), " ",
                                  shape_text(info->shape), ", ", shape_text(slot.shape), " was expected"),
                         "Give the model the dimensions of the file.");
    }
    const auto bytes = file.bytes(*info);
    VRAMWISE_RETURN_IF_ERROR(for_each_piece(buffer, slot, [&](std::int64_t at, torch::Tensor piece) -> Status {
      torch::Tensor host = torch::empty({piece.numel()}, *type);
      const auto begin = static_cast<std::size_t>(at) * host.element_size();
      std::memcpy(host.mutable_data_ptr(), bytes.data() + begin, host.nbytes());
      piece.copy_(host);
      return Done{};
    }));
  }
  file.release_pages();
  return Done{};
}

Status check_seal(const std::string& path, const FileSeal& seal) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  if (file->size() != seal.bytes) {
    return world_error(c10::str(path, ": ", file->size(), " bytes, ", seal.bytes, " were written"));
  }
  Checksum checksum;
  checksum.add(file->bytes());
  file->release_pages(file->bytes());
  if (checksum.value() != seal.checksum) return world_error(path + ": its content is not what was written");
  return Done{};
}

}  // namespace vramwise

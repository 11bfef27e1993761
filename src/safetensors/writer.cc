// The header can be written first because shapes tell all offsets.
#include "safetensors/writer.h"

#include <utility>

namespace vramwise {

Result<SafetensorsWriter> SafetensorsWriter::create(const std::string& path, const std::vector<TensorInfo>& tensors,
                                                    const TensorMetadata& metadata) {
  std::int64_t data_bytes = 0;
  for (const TensorInfo& tensor : tensors) data_bytes += tensor.bytes();
  const std::string header = encode_header(tensors, metadata);
  const std::uint64_t header_bytes = header.size();
  VRAMWISE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::create(path));
  SafetensorsWriter writer(std::move(file), data_bytes);
  VRAMWISE_RETURN_IF_ERROR(writer.file_.write(&header_bytes, sizeof(header_bytes)));
  VRAMWISE_RETURN_IF_ERROR(writer.file_.write(header.data(), header.size()));
  return writer;
}

Status SafetensorsWriter::append(std::span<const std::byte> bytes) {
  missing_ -= static_cast<std::int64_t>(bytes.size());
  VRAMWISE_CHECK(missing_ >= 0);
  return file_.write(bytes.data(), bytes.size());
}

Status SafetensorsWriter::finish() {
  VRAMWISE_CHECK(missing_ == 0);
  return file_.finish();
}

}  // namespace vramwise

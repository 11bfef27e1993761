// Everything in a header is hostile until checked: it comes from a file that may be damaged, or from the internet.
#include "safetensors/header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/json.h"

namespace vramwise {
namespace {

struct TypeRow {
  TensorType type;
  const char* name;
  std::int64_t bytes;
};

constexpr std::array<TypeRow, 15> kTypes = {{{TensorType::kBool, "BOOL", 1},
                                             {TensorType::kU8, "U8", 1},
                                             {TensorType::kI8, "I8", 1},
                                             {TensorType::kF8E5M2, "F8_E5M2", 1},
                                             {TensorType::kF8E4M3, "F8_E4M3", 1},
                                             {TensorType::kI16, "I16", 2},
                                             {TensorType::kU16, "U16", 2},
                                             {TensorType::kF16, "F16", 2},
                                             {TensorType::kBF16, "BF16", 2},
                                             {TensorType::kI32, "I32", 4},
                                             {TensorType::kU32, "U32", 4},
                                             {TensorType::kF32, "F32", 4},
                                             {TensorType::kI64, "I64", 8},
                                             {TensorType::kU64, "U64", 8},
                                             {TensorType::kF64, "F64", 8}}};

const TypeRow& row(TensorType type) {
  const auto* found = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeRow& r) { return r.type == type; });
  VRAMWISE_CHECK(found != kTypes.end());
  return *found;
}

/// Whether an object of the header (the tensors, or one tensor's keys) gives a key twice: parsers differ in which of
/// the two they take, so what is seen would not be what is loaded elsewhere.
bool has_duplicate_keys(std::string_view json) {
  std::vector<std::set<std::string>> open;
  bool duplicate = false;
  const auto callback = [&](int /*depth*/, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end && !open.empty()) open.pop_back();
    if (event == Json::parse_event_t::key && !open.back().insert(value.get<std::string>()).second) duplicate = true;
    return true;
  };
  [[maybe_unused]] const Json parsed = Json::parse(json, callback, /*allow_exceptions=*/false);
  return duplicate;
}

Result<TensorInfo> decode_tensor(const std::string& name, const Json& json) {
  TensorInfo info;
  info.name = name;
  VRAMWISE_ASSIGN_OR_RETURN(const std::string type, json_get<std::string>(json, "dtype"));
  const auto known = parse_tensor_type(type);
  if (!known) return world_error(fmt::format("unknown dtype \"{}\"", type));
  info.type = *known;
  VRAMWISE_ASSIGN_OR_RETURN(const auto offsets, json_get<std::vector<std::int64_t>>(json, "data_offsets"));
  VRAMWISE_ASSIGN_OR_RETURN(info.shape, json_get<std::vector<std::int64_t>>(json, "shape"));
  // The conversion above rounds 1.5 and wraps 2^64 - 1, so the numbers themselves are looked at, too.
  for (const char* key : {"shape", "data_offsets"}) {
    for (const Json& number : json.at(key)) {
      if (!number.is_number_unsigned() || number.get<std::uint64_t>() >> 62 != 0) {
        return world_error(fmt::format("\"{}\" holds something that is no size", key));
      }
    }
  }
  std::int64_t bytes = tensor_type_bytes(info.type);
  for (const std::int64_t dimension : info.shape) {
    if (__builtin_mul_overflow(bytes, dimension, &bytes)) return world_error("its size is beyond 64 bits");
  }
  if (offsets.size() != 2) return world_error("\"data_offsets\" is not a pair");
  if (offsets[1] - offsets[0] != bytes) return world_error("its offsets do not agree with its shape");
  info.offset = offsets[0];
  return info;
}

}  // namespace

const char* tensor_type_name(TensorType type) { return row(type).name; }

std::optional<TensorType> parse_tensor_type(std::string_view name) {
  for (const TypeRow& r : kTypes) {
    if (name == r.name) return r.type;
  }
  return std::nullopt;
}

std::int64_t tensor_type_bytes(TensorType type) { return row(type).bytes; }

std::int64_t TensorInfo::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t dimension : shape) count *= dimension;
  return count;
}

std::string encode_header(const std::vector<TensorInfo>& tensors, const TensorMetadata& metadata) {
  Json json = Json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  std::int64_t offset = 0;
  for (const TensorInfo& tensor : tensors) {
    const std::int64_t end = offset + tensor.bytes();
    VRAMWISE_CHECK_THAT(!json.contains(tensor.name), tensor.name);
    json[tensor.name] = {
        {"dtype", tensor_type_name(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = json.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

Result<TensorHeader> decode_header(std::string_view json, const std::string& where) {
  const auto damaged = [&](const std::string& what) {
    return world_error(fmt::format("{}: not a sound safetensors file: {}", where, what),
                       "It was damaged, or cut short in a copy; fetch or save it again.");
  };
  const Json root = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return damaged("its header is no JSON object");
  if (has_duplicate_keys(json)) return damaged("its header gives a name twice");

  TensorHeader header;
  for (const auto& [name, value] : root.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) return damaged("\"__metadata__\" is no object");
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) return damaged(fmt::format("metadata \"{}\" is no text", key));
        header.metadata[key] = text.get<std::string>();
      }
      continue;
    }
    Result<TensorInfo> tensor = decode_tensor(name, value);
    if (!tensor.ok()) return damaged(fmt::format("tensor \"{}\": {}", name, tensor.error().what));
    header.tensors.push_back(std::move(*tensor));
  }
  std::stable_sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.offset, a.bytes()) < std::pair(b.offset, b.bytes());
  });
  for (const TensorInfo& tensor : header.tensors) {
    if (tensor.offset != header.data_bytes) {
      return damaged(fmt::format("tensor \"{}\" {}", tensor.name,
                                 tensor.offset < header.data_bytes ? "overlaps another" : "comes after a gap"));
    }
    header.data_bytes += tensor.bytes();
  }
  return header;
}

}  // namespace vramwise

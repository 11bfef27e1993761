// The checksum is that of the compact text: keys are sorted and numbers are written so that they read back as they
// were, so the text of a document that was read is the text of the one that was written.
#include "io/sealed_json.h"

#include <fmt/format.h>

#include <span>
#include <string>

#include "io/checksum.h"

namespace vramwise {
namespace {

constexpr const char* kSealKey = "seal";

std::string seal_of(const Json& unsealed) {
  const std::string text = unsealed.dump();
  Checksum checksum;
  checksum.add(std::as_bytes(std::span(text)));
  return fmt::format("{:016x}", checksum.value());
}

}  // namespace

Json seal_json(Json document) {
  document.erase(kSealKey);
  document[kSealKey] = seal_of(document);
  return document;
}

bool has_seal(const Json& document) { return document.is_object() && document.contains(kSealKey); }

Status check_json_seal(const Json& document) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string seal, json_get<std::string>(document, kSealKey));
  Json rest = document;
  rest.erase(kSealKey);
  if (seal != seal_of(rest)) return world_error("its content is not what was written");
  return Done{};
}

}  // namespace vramwise

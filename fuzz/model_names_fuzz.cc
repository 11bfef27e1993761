// Any text as the name of a model of the catalogue.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "models/catalogue/model_catalogue.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const vramwise::CatalogueModel* found = vramwise::find_model(text);
  if (found != nullptr && found->names.empty()) std::abort();
  for (const std::string& name : vramwise::names_like(text))
    if (vramwise::find_model(name) == nullptr) std::abort();
  return 0;
}

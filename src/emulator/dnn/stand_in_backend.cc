// cuDNN's backend (graph) interface where the real library can't be asked. A graph of operations gets one engine with
// one configuration and no knobs. The workspace of a real engine is not published by NVIDIA; it is assumed to be
// nothing, and the ledger says so.
#include <cstring>
#include <string>

#include "emulator/dnn/backend.h"
#include "emulator/process.h"

namespace vramwise::emulator {
namespace {

struct Attribute {
  int type = 0;
  std::int64_t count = 0;
  std::vector<unsigned char> bytes;
};

/// The attributes that the program set, to be read back.
struct StandInDescriptor {
  int type = 0;
  std::map<int, Attribute> attributes;
};

constexpr int kBadParameter = 2000;
constexpr int kNotSupportedByDnn = 3000;
constexpr const char* kWorkspaceAssumption = "cuDNN engines need no workspace";

// cudnnBackendAttributeName_t
enum Name : int {
  kHeuristicResults = 202,
  kConfigEngine = 300,
  kConfigIntermediate = 301,
  kConfigKnobs = 302,
  kConfigWorkspace = 303,
  kConfigSharedMemory = 304,
  kPlanConfig = 401,
  kPlanWorkspace = 402,
  kPlanComputedIds = 403,
  kPlanRunOnlyIds = 404,
  kPlanJson = 405,
  kGraphEngineCount = 802,
  kEngineIndex = 1301,
  kEngineKnobs = 1302,
  kEngineNumericalNotes = 1303,
  kEngineLayouts = 1304,
  kEngineBehaviorNotes = 1305,
  kCacheJson = 2402,
  kDeviceJson = 2702,
};

/// Bytes of one element of a cudnnBackendAttributeType_t.
std::size_t element_size(int type) {
  switch (type) {
    case 2:
    case 24:
      return 1;  // BOOLEAN, CHAR
    case 0:
    case 3:
    case 5:
    case 6:
    case 15:
      return 8;  // HANDLE, INT64, DOUBLE, VOID_PTR, BACKEND_DESCRIPTOR
    case 26:
      return 16;  // FRACTION
    default:
      return 4;  // enumerations, FLOAT, INT32
  }
}

int answer_count(const BackendQuery& query, std::int64_t count) {
  if (query.count != nullptr) *query.count = count;
  return 0;
}

int answer_number(const BackendQuery& query, std::int64_t value) {
  if (query.room > 0 && query.elements != nullptr) std::memcpy(query.elements, &value, element_size(query.type));
  return answer_count(query, 1);
}

int answer_text(const BackendQuery& query, const char* text) {
  const auto length = static_cast<std::int64_t>(std::strlen(text)) + 1;
  if (query.elements != nullptr && query.room >= length)
    std::memcpy(query.elements, text, static_cast<std::size_t>(length));
  return answer_count(query, length);
}

int answer_stored(const BackendQuery& query, const Attribute& attribute) {
  const std::int64_t copied = query.room < attribute.count ? query.room : attribute.count;
  if (query.elements != nullptr && copied > 0) {
    std::memcpy(query.elements, attribute.bytes.data(),
                static_cast<std::size_t>(copied) * element_size(attribute.type));
  }
  return answer_count(query, attribute.count);
}

int answer(const StandInDescriptor& descriptor, int name, const BackendQuery& query) {
  switch (name) {
    // Descriptors that the caller made and wants filled: a fresh one is what they stand for.
    case kHeuristicResults:
    case kConfigEngine:
    case kPlanConfig:
      return answer_count(query, 1);
    case kConfigIntermediate:
    case kConfigKnobs:
    case kPlanComputedIds:
    case kPlanRunOnlyIds:
    case kEngineKnobs:
    case kEngineNumericalNotes:
    case kEngineLayouts:
    case kEngineBehaviorNotes:
      return answer_count(query, 0);
    case kConfigWorkspace:
    case kPlanWorkspace:
      assume(kWorkspaceAssumption);
      return answer_number(query, 0);
    case kConfigSharedMemory:
    case kEngineIndex:
      return answer_number(query, 0);
    case kGraphEngineCount:
      return answer_number(query, 1);
    case kPlanJson:
    case kCacheJson:
    case kDeviceJson:
      return answer_text(query, "{}");
    default:
      break;
  }
  const auto stored = descriptor.attributes.find(name);
  if (stored != descriptor.attributes.end()) return answer_stored(query, stored->second);
  return refuse(("cudnnBackendGetAttribute(" + std::to_string(name) + ")").c_str(), kNotSupportedByDnn);
}

class StandIn : public DnnBackend {
 public:
  int create(int type, BackendDescriptor* descriptor) override {
    *descriptor = new StandInDescriptor{.type = type, .attributes = {}};
    return 0;
  }
  int destroy(BackendDescriptor descriptor) override {
    delete static_cast<StandInDescriptor*>(descriptor);
    return 0;
  }
  int initialize(BackendDescriptor) override { return 0; }
  int finalize(BackendDescriptor) override { return 0; }
  int set(BackendDescriptor descriptor, int name, int type, std::int64_t count, const void* elements) override {
    if (count < 0 || (count > 0 && elements == nullptr)) return kBadParameter;
    const auto* bytes = static_cast<const unsigned char*>(elements);
    const std::size_t size = static_cast<std::size_t>(count) * element_size(type);
    static_cast<StandInDescriptor*>(descriptor)->attributes[name] = {type, count, {bytes, bytes + size}};
    return 0;
  }
  int get(BackendDescriptor descriptor, int name, const BackendQuery& query) override {
    return answer(*static_cast<StandInDescriptor*>(descriptor), name, query);
  }
};

}  // namespace

DnnBackend& stand_in_backend() {
  static auto* instance = new StandIn;
  return *instance;
}

}  // namespace vramwise::emulator

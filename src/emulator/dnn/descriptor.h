// What cuDNN's opaque descriptors hold here: the attributes that the program set, to be read back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace vramwise::emulator {

struct BackendAttribute {
  int type = 0;
  std::int64_t count = 0;
  std::vector<unsigned char> bytes;
};

struct BackendDescriptor {
  int type = 0;
  bool finalized = false;
  std::map<int, BackendAttribute> attributes;
};

}  // namespace vramwise::emulator

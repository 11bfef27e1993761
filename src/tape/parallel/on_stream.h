// OnStream: `with torch.cuda.stream(…)` as a scope.
#pragma once

#include "tape/tape.h"

namespace vramwise::tape {

class OnStream {
 public:
  OnStream(Tape& tape, StreamIndex stream) : tape_(tape) { tape.set_stream(stream); }
  OnStream(const OnStream&) = delete;
  OnStream& operator=(const OnStream&) = delete;
  ~OnStream() { tape_.set_stream(0); }

 private:
  Tape& tape_;
};

}  // namespace vramwise::tape

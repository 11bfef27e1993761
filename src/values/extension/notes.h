// What a run's values rest on: how much was computed, what was assumed, what could not be done. Read as JSON by the dry
// run's report. Safe to use from several threads.
#pragma once

#include <cstdint>
#include <string>

namespace vramwise::values {

enum class Routing {
  kBalanced,  ///< each expert gets equally many tokens
  kWorst,     ///< all tokens go to the same experts
};

/// VRAMWISE_ROUTING: "worst", or balanced where it is anything else or absent.
Routing routing();

/// An operator was run on the CPU.
void note_run(const std::string& operator_name);
/// Choices among `choices`, `taken` for each of `rows`, were assigned by routing(), as the scores were not computed.
void note_routed(const std::string& operator_name, std::int64_t rows, std::int64_t taken, std::int64_t choices);
/// Floating-point values that were not computed were taken to be finite.
void note_assumed_finite(const std::string& operator_name);
/// Random numbers were drawn that are not those of the real device.
void note_random(const std::string& operator_name);
/// How many elements an operator found hangs on values that were not computed: taken as `taken`, of `most` at most.
void note_sized(const std::string& operator_name, const std::string& place, std::int64_t taken, std::int64_t most);
/// The program read a number that was not computed, and got the fill.
void note_read(const std::string& place);
/// What other ranks send was taken to be what this one sends.
void note_mirrored(const std::string& operator_name);
/// The CPU kernel refused, or gave another shape than the device's: what it would have written is unknown.
void note_failed(const std::string& operator_name, const std::string& why);

}  // namespace vramwise::values

/// The notes so far as JSON; valid until this thread's next call. Keys: `run` (by operator), `routing`, `routed`,
/// `sized`, `read`, `mirrored`, `assumed_finite`, `random`, `failed` (see docs/emulator.md).
extern "C" __attribute__((visibility("default"))) const char* vramwise_values_report();

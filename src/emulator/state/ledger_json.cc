// The keys are part of the interface to src/dryrun and are documented in docs/emulator.md.
#include "emulator/state/ledger_json.h"

#include <unistd.h>

#include <cstdio>

#include "emulator/state/visible_devices.h"

namespace vramwise::emulator {
namespace {

Json moment_json(const Moment& moment) {
  return {{"sequence", moment.sequence}, {"virtual_ms", static_cast<double>(moment.time_ns) / 1e6}};
}

Json device_json(const Machine& machine, int device) {
  const CardSpec& card = machine.card(device);
  const DeviceLedger& ledger = machine.memory().ledgers()[static_cast<std::size_t>(device)];
  const Bytes together = ledger.together_peak();
  Json events = Json::array();
  for (const auto& event : ledger.out_of_memory_events()) {
    events.push_back({{"requested_bytes", event.requested.count()},
                      {"free_bytes", event.free.count()},
                      {"when", moment_json(event.when)}});
  }
  return {{"index", device},
          {"physical_index", machine.physical_index(device)},
          {"name", card.name},
          {"uuid", uuid_text(card.uuid)},
          {"capability", std::to_string(card.capability_major) + "." + std::to_string(card.capability_minor)},
          {"total_bytes", card.total.count()},
          {"other_bytes", ledger.other().count()},
          {"context_bytes", ledger.context().count()},
          {"communicator_peak_bytes", machine.communicator_peak(device).count()},
          {"peak_bytes", ledger.peak().count()},
          {"peak_when", moment_json(ledger.peak_moment())},
          {"together_peak_bytes", together == Bytes(0) ? Json(nullptr) : Json(together.count())},
          {"live_bytes", ledger.live().count()},
          {"allocations", ledger.allocations()},
          {"out_of_memory", std::move(events)}};
}

}  // namespace

Json ledger_json(const Machine& machine, int process_id) {
  Json devices = Json::array();
  for (int device = 0; device < machine.device_count(); ++device) devices.push_back(device_json(machine, device));
  const Recorder& recorder = machine.recorder();
  const PinnedLedger& pinned = machine.memory().pinned();
  const ContentCounts& contents = machine.memory().contents().counts();
  return {
      {"schema", 1},
      {"process_id", process_id},
      {"driver_version", machine.spec().driver_version},
      {"devices", std::move(devices)},
      {"pinned_host",
       {{"peak_bytes", pinned.peak.count()}, {"live_bytes", pinned.live.count()}, {"allocations", pinned.allocations}}},
      {"unmodelled", recorder.unmodelled},
      {"assumed", recorder.assumed},
      {"absent_driver_functions", recorder.absent},
      {"skipped",
       {{"kernels", recorder.kernels},
        {"library_calls", recorder.computed},
        {"copies", contents.skipped_copies},
        {"copied_bytes", contents.skipped_bytes.count()}}},
      {"copies", contents.copies},
      {"reads_by_host", contents.reads_by_host},
      {"lag", machine.lags()},
      {"virtual_ms", static_cast<double>(machine.now().time_ns) / 1e6}};
}

Status write_atomically(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".part." + std::to_string(getpid());
  std::FILE* file = std::fopen(temporary.c_str(), "w");
  if (file == nullptr) return world_error("cannot write '" + temporary + "'");
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed || std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::remove(temporary.c_str());
    return world_error("cannot write '" + path + "'");
  }
  return Done{};
}

}  // namespace vramwise::emulator

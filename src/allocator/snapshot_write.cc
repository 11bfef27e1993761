// Writing a snapshot, as JSON and as the simplest pickle that says the same: protocol 2, every value in full, texts and
// stacks by the memo. pytorch.org/memory_viz reads such a pickle.
#include <fmt/format.h>

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "allocator/snapshot.h"

namespace vramwise {
namespace {

constexpr std::array<const char*, 10> kActions = {"alloc",        "free_requested", "free_completed", "segment_alloc",
                                                  "segment_free", "segment_map",    "segment_unmap",  "snapshot",
                                                  "oom",          "other"};

const char* name_of(TraceAction action) { return kActions[static_cast<std::size_t>(action)]; }

const char* name_of(SnapshotBlock::State state) {
  switch (state) {
    case SnapshotBlock::State::kAllocated:
      return "active_allocated";
    case SnapshotBlock::State::kPendingFree:
      return "active_pending_free";
    case SnapshotBlock::State::kFree:
      return "inactive";
  }
  return "inactive";
}

class PickleWriter {
 public:
  PickleWriter() : out_("\x80\x02") {}

  std::string finish() {
    out_ += '.';
    return std::move(out_);
  }

  void begin_dict() { out_ += "}("; }
  void end_dict() { out_ += 'u'; }
  void begin_list() { out_ += "]("; }
  void end_list() { out_ += 'e'; }
  void boolean(bool value) { out_ += value ? '\x88' : '\x89'; }
  void integer(std::int64_t value) {
    out_ += "\x8a\x08";
    number(static_cast<std::uint64_t>(value), 8);
  }
  void text(const std::string& value) {
    if (const auto known = memo_of_.find(value); known != memo_of_.end()) {
      get(known->second);
      return;
    }
    out_ += 'X';
    number(value.size(), 4);
    out_ += value;
    memo_of_[value] = put();
  }
  std::uint32_t put() {
    out_ += 'r';
    number(memos_, 4);
    return memos_++;
  }
  void get(std::uint32_t memo) {
    out_ += 'j';
    number(memo, 4);
  }

  void entry(const char* key, std::int64_t value) {
    text(key);
    integer(value);
  }
  void entry(const char* key, const std::string& value) {
    text(key);
    text(value);
  }
  void flag(const char* key, bool value) {
    text(key);
    boolean(value);
  }

 private:
  void number(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out_ += static_cast<char>(value >> (8 * i) & 0xff);
  }

  std::string out_;
  std::unordered_map<std::string, std::uint32_t> memo_of_;
  std::uint32_t memos_ = 0;
};

/// The same calls, as JSON.
class JsonWriter {
 public:
  std::string finish() { return std::move(out_); }
  void begin_dict() { open('{'); }
  void end_dict() { close('}'); }
  void begin_list() { open('['); }
  void end_list() { close(']'); }
  void boolean(bool value) { raw(value ? "true" : "false"); }
  void integer(std::int64_t value) { raw(fmt::format("{}", value)); }
  void text(const std::string& value) {
    raw(nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  void entry(const char* key, std::int64_t value) {
    name(key);
    integer(value);
  }
  void entry(const char* key, const std::string& value) {
    name(key);
    text(value);
  }
  void flag(const char* key, bool value) {
    name(key);
    boolean(value);
  }
  void name(const char* key) {
    text(key);
    out_ += ':';
    fresh_ = true;
  }

 private:
  void raw(const std::string& text) {
    if (!fresh_) out_ += ',';
    fresh_ = false;
    out_ += text;
  }
  void open(char bracket) {
    raw(std::string(1, bracket));
    fresh_ = true;
  }
  void close(char bracket) {
    out_ += bracket;
    fresh_ = false;
  }

  std::string out_;
  bool fresh_ = true;  ///< nothing before it in its list or dict
};

void name(PickleWriter& writer, const char* key) { writer.text(key); }
void name(JsonWriter& writer, const char* key) { writer.name(key); }

template <typename Writer>
class SnapshotWriter {
 public:
  explicit SnapshotWriter(const MemorySnapshot& snapshot) : snapshot_(snapshot) {}

  std::string run() {
    out_.begin_dict();
    name(out_, "segments");
    out_.begin_list();
    for (const SnapshotSegment& segment : snapshot_.segments) write(segment);
    out_.end_list();
    name(out_, "device_traces");
    out_.begin_list();
    for (const auto& trace : snapshot_.traces) {
      out_.begin_list();
      for (const TraceEntry& entry : trace) write(entry);
      out_.end_list();
    }
    out_.end_list();
    name(out_, "allocator_settings");
    out_.begin_dict();
    out_.entry("PYTORCH_CUDA_ALLOC_CONF", snapshot_.options_text);
    out_.flag("expandable_segments", snapshot_.options.expandable_segments);
    out_.end_dict();
    out_.end_dict();
    return out_.finish();
  }

 private:
  void write_stack(StackIndex index) {
    name(out_, "frames");
    if constexpr (std::is_same_v<Writer, PickleWriter>) {
      if (const auto known = memo_of_stack_.find(index); known != memo_of_stack_.end()) {
        out_.get(known->second);
        return;
      }
    }
    out_.begin_list();
    for (const std::uint32_t frame : snapshot_.stacks[index]) write(snapshot_.frames[frame]);
    out_.end_list();
    if constexpr (std::is_same_v<Writer, PickleWriter>) memo_of_stack_[index] = out_.put();
  }

  void write(const SnapshotFrame& frame) {
    out_.begin_dict();
    out_.entry("name", frame.function);
    out_.entry("filename", frame.file);
    out_.entry("line", frame.line);
    out_.end_dict();
  }

  void write(const SnapshotSegment& segment) {
    std::int64_t allocated = 0;
    std::int64_t active = 0;
    std::int64_t requested = 0;
    for (const SnapshotBlock& block : segment.blocks) {
      if (block.state == SnapshotBlock::State::kFree) continue;
      active += block.size;
      requested += block.requested;
      if (block.state == SnapshotBlock::State::kAllocated) allocated += block.size;
    }
    out_.begin_dict();
    out_.entry("device", segment.device);
    out_.entry("address", segment.address);
    out_.entry("total_size", segment.size);
    out_.entry("allocated_size", allocated);
    out_.entry("active_size", active);
    out_.entry("requested_size", requested);
    out_.entry("stream", segment.stream);
    out_.entry("segment_type", std::string(segment.is_small ? "small" : "large"));
    write_pool("segment_pool_id", segment.is_private);
    out_.flag("is_expandable", segment.is_expandable);
    write_stack(segment.stack);
    name(out_, "blocks");
    out_.begin_list();
    for (const SnapshotBlock& block : segment.blocks) write(block);
    out_.end_list();
    out_.end_dict();
  }

  void write(const SnapshotBlock& block) {
    out_.begin_dict();
    out_.entry("address", block.address);
    out_.entry("size", block.size);
    out_.entry("requested_size", block.requested);
    out_.entry("state", std::string(name_of(block.state)));
    write_stack(block.stack);
    out_.end_dict();
  }

  void write(const TraceEntry& entry) {
    out_.begin_dict();
    out_.entry("action", std::string(name_of(entry.action)));
    out_.entry(entry.action == TraceAction::kOutOfMemory ? "device_free" : "addr", entry.address);
    out_.entry("size", entry.size);
    out_.entry("stream", entry.stream);
    out_.entry("time_us", entry.time_us);
    if (entry.is_private) write_pool("pool_id", true);
    write_stack(entry.stack);
    out_.end_dict();
  }

  void write_pool(const char* key, bool is_private) {
    name(out_, key);
    out_.begin_list();
    out_.integer(0);
    out_.integer(is_private ? 1 : 0);
    out_.end_list();
  }

  const MemorySnapshot& snapshot_;
  Writer out_;
  std::map<StackIndex, std::uint32_t> memo_of_stack_;
};

}  // namespace

std::string snapshot_as_pickle(const MemorySnapshot& snapshot) { return SnapshotWriter<PickleWriter>(snapshot).run(); }
std::string snapshot_as_json(const MemorySnapshot& snapshot) { return SnapshotWriter<JsonWriter>(snapshot).run(); }

}  // namespace vramwise

// Cards become devices here: in the order of CUDA_VISIBLE_DEVICES, each with a default stream, a context and a pool.
#include "emulator/state/machine.h"

#include <algorithm>
#include <utility>

#include "emulator/state/visible_devices.h"

namespace vramwise::emulator {
namespace {

std::vector<int> visible_of(const MachineSpec& spec, const char* visible) {
  std::vector<Uuid> uuids;
  for (const auto& card : spec.cards) uuids.push_back(card.uuid);
  return visible_devices(visible, uuids);
}

std::vector<CardSpec> cards_of(const MachineSpec& spec, const std::vector<int>& visible) {
  std::vector<CardSpec> cards;
  for (const int index : visible) cards.push_back(spec.cards[static_cast<std::size_t>(index)]);
  return cards;
}

}  // namespace

Machine::Machine(MachineSpec spec, const char* visible)
    : spec_(std::move(spec)),
      visible_(visible_of(spec_, visible)),
      cards_(cards_of(spec_, visible_)),
      open_(cards_.size(), false),
      memory_(cards_, spec_.faults, spec_.resident_budget) {
  memory_.space().set_fill(spec_.fill);
  communicators_.resize(cards_.size());
  for (int device = 0; device < device_count(); ++device) {
    contexts_.push_back({device});
    pools_.emplace_back().device = device;
    default_streams_.push_back(std::make_unique<Stream>(Stream{.device = device, .capture = nullptr}));
  }
}

void Machine::share(std::unique_ptr<SharedCards> cards) {
  shared_ = std::move(cards);
  for (int device = 0; device < device_count(); ++device)
    memory_.ledger(device).share({.cards = shared_.get(), .card = physical_index(device)});
}

bool Machine::open_context(int device) {
  if (has_context(device)) return true;
  if (!memory_.ledger(device).open_context(card(device).context, next_moment())) return false;
  open_[static_cast<std::size_t>(device)] = true;
  return true;
}

bool Machine::take_for_communicator(int device, Bytes size) {
  if (size == Bytes(0)) return true;
  if (!memory_.take(device, size, next_moment())) return false;
  Communicators& held = communicators_[static_cast<std::size_t>(device)];
  held.live += size;
  held.peak = std::max(held.peak, held.live);
  return true;
}

void Machine::give_back_of_communicator(int device, Bytes size) {
  next_moment();
  if (size == Bytes(0)) return;
  memory_.give_back(device, size);
  communicators_[static_cast<std::size_t>(device)].live -= size;
}

Stream* Machine::create_stream(int device, unsigned flags, int priority) {
  auto* stream = new Stream{.device = device, .flags = flags, .priority = priority, .capture = nullptr};
  streams_.insert(stream);
  return stream;
}

bool Machine::destroy_stream(Stream* stream) {
  if (streams_.erase(stream) == 0) return false;
  delete stream;
  return true;
}

Stream* Machine::stream(void* handle, int device) {
  // cudaStreamLegacy and cudaStreamPerThread are the handles 1 and 2.
  if (reinterpret_cast<std::uintptr_t>(handle) <= 2) {
    return has_device(device) ? default_streams_[static_cast<std::size_t>(device)].get() : nullptr;
  }
  auto* stream = static_cast<Stream*>(handle);
  return streams_.contains(stream) ? stream : nullptr;
}

void Machine::work(void* handle, int device, std::int64_t ns) {
  Stream* target = stream(handle, device);
  if (!lags() || target == nullptr) return advance(ns);
  if (target->capture) return;
  advance(std::min(ns, Costs::kLaunchNs));
  target->busy_until_ns = std::max(target->busy_until_ns, now_.time_ns) + ns;
  wait_until(target->busy_until_ns - Costs::kLongestQueueNs);
}

void Machine::wait_for_device(int device) {
  each_stream([&](const Stream& each) {
    if (each.device == device) wait_until(each.busy_until_ns);
  });
}

void Machine::count_launch(void* handle, int device) {
  work(handle, device, Costs::kKernelNs);
  ++recorder_.kernels;
  Stream* target = stream(handle, device);
  if (target != nullptr && target->capture) target->last_node = add_node(*target->capture->graph, kKernelNode);
}

Event* Machine::create_event(int device) {
  auto* event = new Event{.device = device, .capture = nullptr};
  events_.insert(event);
  return event;
}

bool Machine::destroy_event(Event* event) {
  if (events_.erase(event) == 0) return false;
  delete event;
  return true;
}

}  // namespace vramwise::emulator

// Recording: events of a stretch become slots, and what is alive at its end is told apart by who holds it. Who does is
// read from the counts of references, the same counts that decide when memory is released.

#include "tape/transforms/layer_record.h"

#include <algorithm>
#include <utility>

#include "tape/transforms/autocast.h"

namespace vramwise::tape {
namespace {

// A tensor that nothing else refers to, on memory that nothing else looks at.
bool is_alone(const TensorData& data) {
  return data.references == 1 && data.storage->references == 1 && data.base == nullptr && data.storage->bytes > 0;
}

// Tensors that others than the graph refer to, and how often.
class Handles {
 public:
  void add(const TensorData* data) {
    const auto found = std::find_if(counts_.begin(), counts_.end(), [&](const Count& each) { return each.of == data; });
    if (found != counts_.end()) {
      ++found->handles;
    } else {
      counts_.push_back({data, 1});
    }
  }
  /// Whether anything else keeps the memory.
  bool are_all_of(const Storage& storage) const {
    std::uint32_t tensors = 0;
    for (const Count& each : counts_) {
      if (each.of->storage != &storage) continue;
      if (each.of->references > each.handles) return false;
      ++tensors;
    }
    return storage.references == tensors;
  }

 private:
  struct Count {
    const TensorData* of;
    std::uint32_t handles;
  };
  std::vector<Count> counts_;
};

}  // namespace

TensorLook look_of(const TensorData& data) {
  return {.type = data.type,
          .is_contiguous = data.is_contiguous,
          .offset = data.offset,
          .sizes = data.sizes,
          .strides = data.strides};
}

Tensor TensorLook::on(Tape& tape, Storage* storage) const {
  TensorData* data = tape.new_data();
  ++storage->references;
  data->references = 1;
  data->type = type;
  data->is_contiguous = is_contiguous;
  data->tape = &tape;
  data->storage = storage;
  data->offset = offset;
  data->sizes = sizes;
  data->strides = strides;
  return Tensor::adopt(data);
}

SlotRecorder::SlotRecorder(const Tape& tape)
    : tape_(tape),
      first_event_(tape.events().size()),
      first_estimate_(tape.estimates().size()),
      workspaces_before_(tape.cublas_workspaces().size()),
      work_before_(tape.work()),
      slots_(tape.id_count(), kNone) {}

std::uint32_t& SlotRecorder::slot_of(AllocationId id) {
  if (id >= slots_.size()) slots_.resize(std::size_t{id} + 1, kNone);
  return slots_[id];
}

// A workspace of cuBLAS that comes in this stretch is its thread's and not the layer's: it does not come again.
std::vector<std::size_t> SlotRecorder::new_workspaces() const {
  std::vector<std::size_t> places;
  const std::vector<AllocationId> ids = tape_.cublas_workspaces();
  if (ids.size() == workspaces_before_) return places;
  const EventList& events = tape_.events();
  for (const AllocationId id : ids) {
    // An id may have been another's before.
    std::size_t place = events.size();
    while (place > first_event_ && !(events[place - 1].kind == EventKind::kAllocate && events[place - 1].id == id))
      --place;
    if (place > first_event_) places.push_back(place - 1);
  }
  return places;
}

bool SlotRecorder::finish(SlotEvents& result, std::span<HookCall> calls) {
  const EventList& events = tape_.events();
  const std::vector<std::size_t> left_out = new_workspaces();
  result.events.reserve(events.size() - first_event_);
  auto call = calls.begin();
  for (std::size_t i = first_event_; i <= events.size(); ++i) {
    for (; call != calls.end() && call->first == i; ++call) {
      call->place = result.events.size();
      if (call->gradient) call->slot = std::exchange(slot_of(*call->gradient), kNone);
      i = call->last;
    }
    if (i == events.size()) break;
    if (std::ranges::find(left_out, i) != left_out.end()) continue;
    const AllocationEvent& event = events[i];
    std::uint32_t& slot = slot_of(event.id);
    if (event.kind == EventKind::kAllocate) {
      slot = next_slot_++;
      alive_.emplace_back(slot, event);
      result.events.push_back({.bytes = event.bytes, .slot = slot, .stream = event.stream});
    } else if (event.kind == EventKind::kFree && slot != kNone) {
      result.events.push_back({.slot = slot, .is_release = true});
      slot = kNone;
    } else {
      return false;
    }
  }
  std::erase_if(alive_, [this](const auto& each) { return find(each.second.id) != each.first; });
  result.slots = next_slot_;
  // Places of estimates are counted from the first event on.
  if (!calls.empty() && first_estimate_ < tape_.estimates().size()) return false;
  for (std::size_t i = first_estimate_; i < tape_.estimates().size(); ++i) {
    const std::size_t place = tape_.estimates()[i];
    const auto before = std::ranges::count_if(left_out, [place](std::size_t other) { return other < place; });
    result.estimates.push_back(place - first_event_ - static_cast<std::size_t>(before));
  }
  result.work = tape_.work() - work_before_;
  return true;
}

bool LayerRecord::is_same_forward(const LayerRecord& other) const {
  return in == other.in && has_autocast == other.has_autocast && forward == other.forward && left == other.left &&
         out == other.out && kept == other.kept && casts == other.casts && holds_input == other.holds_input;
}

ForwardRecorder::ForwardRecorder(Tape& tape, const Tensor& in, const std::vector<Tensor>* kept)
    : tape_(tape),
      slots_(tape),
      kept_(kept),
      first_kept_(kept != nullptr ? kept->size() : 0),
      first_cast_(tape.autocast() != nullptr ? tape.autocast()->casts().size() : 0),
      first_sequence_(tape.next_sequence()),
      input_references_(in->references),
      input_users_(in->storage->references) {}

bool ForwardRecorder::finish(const Tensor& in, const Tensor& out, const std::vector<Tensor>& parameters,
                             LayerRecord& record, std::vector<AllocationId>& ids) {
  if (!slots_.finish(record.forward) || !is_closed(in, out, parameters)) return false;
  record.in = look_of(*in.get());
  record.has_autocast = tape_.autocast() != nullptr;
  record.holds_input = in->references > input_references_ || in->storage->references > input_users_;
  for (const auto& [slot, event] : slots_.alive()) {
    record.left.push_back({.slot = slot, .bytes = event.bytes, .is_visible = false, .is_for_graph = true});
    ids.push_back(event.id);
  }
  return find_visible(out, parameters, record);
}

bool ForwardRecorder::find_visible(const Tensor& out, const std::vector<Tensor>& parameters, LayerRecord& record) {
  Handles handles;
  std::vector<const Storage*> storages(record.left.size());
  const auto add = [&](const Tensor& tensor, LayerRecord::Visible& visible) {
    const std::uint32_t slot = tensor->storage->bytes > 0 ? slots_.find(tensor->storage->id) : SlotRecorder::kNone;
    const auto found = std::ranges::find(record.left, slot, &LayerRecord::Left::slot);
    if (slot == SlotRecorder::kNone || found == record.left.end() || tensor.is_view()) return false;
    found->is_visible = true;
    visible.left = static_cast<std::uint32_t>(found - record.left.begin());
    visible.look = look_of(*tensor.get());
    storages[visible.left] = tensor->storage;
    handles.add(tensor.get());
    return true;
  };
  if (!add(out, record.out) || out->output_number != 0) return false;
  for (std::size_t i = first_kept_; kept_ != nullptr && i < kept_->size(); ++i)
    if (!add((*kept_)[i], record.kept.emplace_back())) return false;
  for (std::size_t i = first_cast_; record.has_autocast && i < tape_.autocast()->casts().size(); ++i) {
    const auto& [weight, cast] = tape_.autocast()->casts()[i];
    const auto found = std::ranges::find(parameters, weight, &Tensor::get);
    if (found == parameters.end() || !add(cast, record.casts.emplace_back())) return false;
    record.casts.back().parameter = static_cast<std::uint32_t>(found - parameters.begin());
  }
  for (std::size_t i = 0; i < record.left.size(); ++i)
    if (storages[i] != nullptr) record.left[i].is_for_graph = !handles.are_all_of(*storages[i]);
  return true;
}

// Whether the graph from `out` down leads to the parameters and to what made `in`, and to nothing else.
bool ForwardRecorder::is_closed(const Tensor& in, const Tensor& out, const std::vector<Tensor>& parameters) const {
  if (out->grad_fn == nullptr || in->grad_fn == nullptr || in->output_number != 0) return false;
  bool is_closed = true;
  bool reaches_input = false;
  std::vector<Node*> seen = {out->grad_fn};
  out->grad_fn->visit = 1;
  for (std::size_t next = 0; next < seen.size(); ++next) {
    Node* node = seen[next];
    if (node == in->grad_fn) {
      reaches_input = true;
      continue;
    }
    if (node->leaf != nullptr) {
      is_closed = is_closed && (node->hook == nullptr || dynamic_cast<const RepeatableHook*>(node->hook) != nullptr) &&
                  std::ranges::find(parameters, node->leaf, &Tensor::get) != parameters.end();
      continue;
    }
    is_closed = is_closed && node->hook == nullptr && node->sequence > first_sequence_;
    if (!is_closed) break;
    for (int i = 0; i < node->edge_count; ++i) {
      Node* target = node->edges[i].node;
      if (target == nullptr || target->visit != 0) continue;
      target->visit = 1;
      seen.push_back(target);
    }
  }
  for (Node* node : seen) node->visit = 0;
  return is_closed && reaches_input;
}

BackwardRecorder::BackwardRecorder(Tape& tape, const LayerRecord& record, std::span<const AllocationId> ids,
                                   AllocationId input, const TensorData* gradient,
                                   const std::vector<Tensor>& parameters)
    : tape_(tape), slots_(tape) {
  // What the graph does not hold may be gone, and its id another's.
  for (std::size_t i = 0; i < ids.size(); ++i) record.left[i].is_for_graph ? slots_.add(ids[i]) : slots_.skip();
  is_good_ = gradient != nullptr && is_alone(*gradient);
  if (!is_good_) return;
  gradient_ = look_of(*gradient);
  slots_.add(gradient->storage->id);
  record.holds_input ? slots_.add(input) : slots_.skip();
  for (const Tensor& parameter : parameters) before_.push_back(parameter->grad);
}

void BackwardRecorder::describe(const TensorData& data, std::uint32_t slot, LayerRecord::Gradient& each) const {
  each.comes = true;
  each.slot = slot;
  each.bytes = data.storage->bytes;
  each.look = look_of(data);
}

void BackwardRecorder::begin_hook(std::uint32_t parameter, const TensorData* gradient) {
  before_hook_ = tape_.work();
  HookCall& call = calls_.emplace_back(HookCall{.parameter = parameter, .first = tape_.events().size()});
  LayerRecord::Gradient& each = handed_over_.emplace_back();
  if (!is_good_ || gradient == nullptr || gradient == before_[parameter]) return;
  is_good_ = is_good_ && before_[parameter] == nullptr && is_alone(*gradient);
  if (!is_good_) return;
  call.gradient = gradient->storage->id;
  describe(*gradient, SlotRecorder::kNone, each);
}

void BackwardRecorder::end_hook() {
  calls_.back().last = tape_.events().size();
  of_hooks_ += tape_.work() - before_hook_;
}

bool BackwardRecorder::finish(const TensorData* gradient, const std::vector<Tensor>& parameters, LayerRecord& record) {
  if (!is_good_ || gradient == nullptr || !is_alone(*gradient) || !slots_.finish(record.backward, calls_)) return false;
  record.backward.work = record.backward.work - of_hooks_;
  describe(*gradient, slots_.find(gradient->storage->id), record.in_gradient);
  if (!(record.in_gradient.look == gradient_)) return false;
  record.gradients.resize(parameters.size());
  std::vector<bool> is_hooked(parameters.size());
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    const HookCall& call = calls_[i];
    if (is_hooked[call.parameter]) return false;
    is_hooked[call.parameter] = true;
    record.hooks.push_back({.place = call.place, .parameter = call.parameter});
    LayerRecord::Gradient& each = record.gradients[call.parameter];
    each = handed_over_[i];
    each.is_handed_over = each.comes;
    each.slot = call.slot;
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    LayerRecord::Gradient& each = record.gradients[i];
    each.was_there = before_[i] != nullptr;
    if (is_hooked[i]) continue;
    const TensorData* after = parameters[i]->grad;
    if (each.was_there && after != before_[i]) return false;
    if (each.was_there || after == nullptr) continue;
    if (!is_alone(*after)) return false;
    describe(*after, slots_.find(after->storage->id), each);
  }
  record.has_backward = leaves_nothing_else(record);
  return record.has_backward;
}

// What is new and stays are gradients, and what the forward pass left for the graph is gone.
bool BackwardRecorder::leaves_nothing_else(const LayerRecord& record) const {
  std::vector<bool> is_known(slots_.next_slot());
  std::vector<bool> is_released(slots_.next_slot());
  for (const LayerRecord::Gradient& each : record.gradients) {
    if (!each.comes) continue;
    if (each.slot == SlotRecorder::kNone || each.slot <= record.input_slot()) return false;
    is_known[each.slot] = !each.is_handed_over;
  }
  const std::uint32_t in_slot = record.in_gradient.slot;
  const bool is_passed_on = in_slot == record.gradient_slot();
  if (in_slot == SlotRecorder::kNone || (in_slot <= record.input_slot() && !is_passed_on)) return false;
  is_known[in_slot] = true;
  for (const auto& [slot, event] : slots_.alive())
    if (!is_known[slot]) return false;
  for (const SlotEvent& event : record.backward.events)
    if (event.is_release) is_released[event.slot] = true;
  for (std::size_t i = 0; i < record.left.size(); ++i)
    if (is_released[i] != record.left[i].is_for_graph) return false;
  return is_released[record.gradient_slot()] != is_passed_on;
}

}  // namespace vramwise::tape

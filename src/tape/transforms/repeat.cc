// Which layers really run, and how a record is played.

#include "tape/transforms/repeat.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "tape/record.h"
#include "tape/transforms/autocast.h"
#include "tape/transforms/layer_record.h"

namespace vramwise::tape {
namespace {

// Three layers of a kind really run; recording pays off from two more on.
constexpr int kFewestAlike = 5;

void play(const SlotEvents& stretch, Tape& tape, std::vector<AllocationId>& ids) {
  if (ids.size() < stretch.slots) ids.resize(stretch.slots);
  for (const std::size_t place : stretch.estimates) tape.estimate_at(tape.events().size() + place);
  for (const SlotEvent& event : stretch.events) {
    if (event.is_release) {
      tape.give_back(ids[event.slot]);
    } else {
      ids[event.slot] = tape.take(event.bytes, event.stream);
    }
  }
  tape.add_work(stretch.work);
}

bool are_alike(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(a, b, [](const Tensor& one, const Tensor& other) {
    return one.type() == other.type() && one->requires_grad == other->requires_grad && one.sizes() == other.sizes() &&
           one.strides() == other.strides();
  });
}

}  // namespace

struct LayerRepeater::Kind {
  int count = 0;
  const StackLayer* model = nullptr;    ///< the layer that is recorded
  std::shared_ptr<LayerRecord> record;  ///< of this pass
  std::optional<ForwardRecorder> forward;
  std::optional<BackwardRecorder> backward;
  int recorded = -1;                   ///< the layer that `backward` is of
  std::vector<AllocationId> last_ids;  ///< of what the last layer's forward pass left
  AllocationId last_input = 0;
};

/// Where the gradient of a layer's result is whole, which is the input of the next.
struct LayerRepeater::Boundary final : GradientHook {
  explicit Boundary(LayerRepeater& owner) : owner(owner) {}
  void run(const Node& node, bool is_alone) override { owner.reached(*this, node, is_alone); }

  LayerRepeater& owner;
  int begins = -1;  ///< the layer whose backward pass begins here
  int ends = -1;
};

/// Stands before the hook of a parameter's gradient, and tells the record that is made when it runs.
struct LayerRepeater::Relay final : RepeatableHook {
  Relay(LayerRepeater& repeater, int number, std::uint32_t place, Node& node)
      : owner(repeater), layer(number), parameter(place), accumulator(node), inner(*node.hook) {}
  void run(const Node& node, bool is_alone) override {
    Kind& kind = owner.kinds_[static_cast<std::size_t>(owner.layers_[static_cast<std::size_t>(layer)].kind)];
    const bool is_recorded = kind.backward.has_value() && kind.recorded == layer;
    if (is_recorded) kind.backward->begin_hook(parameter, node.leaf->grad);
    inner.run(node, is_alone);
    if (is_recorded) kind.backward->end_hook();
  }

  LayerRepeater& owner;
  int layer;
  std::uint32_t parameter;
  Node& accumulator;
  GradientHook& inner;
};

/// A repeated layer in the graph.
class LayerRepeater::Instance final : public SavedHooks {
 public:
  Instance(LayerRepeater& owner, const StackLayer& layer, std::shared_ptr<LayerRecord> record)
      : owner_(owner), layer_(layer), record_(std::move(record)) {}
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  ~Instance() override {
    if (has_run_) return;
    owner_.fail();  // the graph went without a backward pass; in which order is not known
    for (std::size_t i = 0; i < ids_.size(); ++i) release(i);
  }

  std::uint32_t pack(const Tensor&) override { return 0; }
  Tensor unpack(std::uint32_t) override { return {}; }
  void forget(std::uint32_t) override {}

  /// Plays the forward pass; what the graph holds of it is held here.
  Tensor forward(const Tensor& in) {
    Tape& tape = owner_.tape_;
    play(record_->forward, tape, owner_.ids_);
    storages_.resize(record_->left.size());
    for (std::size_t i = 0; i < record_->left.size(); ++i) {
      const LayerRecord::Left& left = record_->left[i];
      ids_.push_back(owner_.ids_[left.slot]);
      if (left.is_visible) storages_[i] = tape.storage_of(ids_[i], left.bytes);
      if (left.is_visible && left.is_for_graph) ++storages_[i]->references;
    }
    if (record_->holds_input) input_ = in;
    for (const LayerRecord::Visible& each : record_->kept) owner_.kept_->push_back(visible(each));
    for (const LayerRecord::Visible& each : record_->casts)
      tape.autocast()->casts().emplace_back(layer_.parameters[each.parameter].get(), visible(each));
    return visible(record_->out);
  }

  void backward(Backward& pass) {
    has_run_ = true;
    gradient_ = pass.take_grad();
    if (owner_.has_failed_ || !is_as_recorded()) return abandon(pass);
    Tape& tape = owner_.tape_;
    std::vector<AllocationId>& ids = owner_.ids_;
    if (ids.size() < record_->backward.slots) ids.resize(record_->backward.slots);
    const std::size_t first = tape.events().size();
    for (const std::size_t place : record_->backward.estimates) tape.estimate_at(first + place);
    std::size_t of_hooks = 0;
    auto hook = record_->hooks.begin();
    const auto run_hooks = [&](std::size_t place) {
      for (; hook != record_->hooks.end() && hook->place == place; ++hook) of_hooks += run_hook(hook->parameter);
    };
    for (std::size_t i = 0; i < record_->backward.events.size(); ++i) {
      run_hooks(i);
      const SlotEvent& event = record_->backward.events[i];
      if (!event.is_release) {
        ids[event.slot] = tape.take(event.bytes, event.stream);
      } else if (event.slot > record_->input_slot()) {
        tape.give_back(ids[event.slot]);
      } else {
        release(event.slot);
      }
    }
    run_hooks(record_->backward.events.size());
    tape.add_work(record_->backward.work);
    input_.reset();
    if (tape.events().size() != first + record_->backward.events.size() + of_hooks) owner_.fail();
    set_gradients();
    // What came in may be what goes out, with the rest added in place.
    Storage* storage = gradient_.defined() ? gradient_->storage : storage_of(record_->in_gradient);
    pass.give(0, record_->in_gradient.look.on(tape, storage));
    gradient_.reset();
  }

 private:
  Tensor visible(const LayerRecord::Visible& what) const { return what.look.on(owner_.tape_, storages_[what.left]); }

  // Of what was there before the backward pass.
  void release(std::size_t slot) {
    if (slot == record_->gradient_slot()) return gradient_.reset();
    if (slot == record_->input_slot()) return input_.reset();
    if (!record_->left[slot].is_for_graph) return;
    if (storages_[slot] != nullptr) {
      owner_.tape_.drop(storages_[slot]);
    } else {
      owner_.tape_.give_back(ids_[slot]);
    }
  }

  bool is_as_recorded() const {
    if (!record_->has_backward || !gradient_.is_only_user_of_storage() || gradient_.is_view()) return false;
    if (!(look_of(*gradient_.get()) == record_->in_gradient.look)) return false;
    for (std::size_t i = 0; i < record_->gradients.size(); ++i)
      if ((layer_.parameters[i]->grad != nullptr) != record_->gradients[i].was_there) return false;
    return true;
  }

  Storage* storage_of(const LayerRecord::Gradient& gradient) const {
    return owner_.tape_.storage_of(owner_.ids_[gradient.slot], gradient.bytes);
  }

  const std::vector<std::unique_ptr<Relay>>& relays_of_layer() const {
    return owner_.relays_[static_cast<std::size_t>(&layer_ - owner_.layers_.data())];
  }

  /// Hands a gradient over; the events that this made.
  std::size_t run_hook(std::uint32_t parameter) const {
    const LayerRecord::Gradient& gradient = record_->gradients[parameter];
    if (gradient.is_handed_over)
      layer_.parameters[parameter].set_grad(gradient.look.on(owner_.tape_, storage_of(gradient)));
    const Relay& relay = *relays_of_layer()[parameter];
    const std::size_t before = owner_.tape_.events().size();
    relay.inner.run(relay.accumulator, false);
    return owner_.tape_.events().size() - before;
  }

  void set_gradients() const {
    for (std::size_t i = 0; i < record_->gradients.size(); ++i) {
      const LayerRecord::Gradient& each = record_->gradients[i];
      if (each.comes && !each.is_handed_over)
        layer_.parameters[i].set_grad(each.look.on(owner_.tape_, storage_of(each)));
    }
  }

  // What comes now is thrown away, but must have the shapes that the rest of the pass expects.
  void abandon(Backward& pass) {
    owner_.fail();
    for (std::size_t i = 0; i < ids_.size(); ++i) release(i);
    input_.reset();
    const auto& relays = relays_of_layer();
    for (std::size_t i = 0; i < relays.size(); ++i) {
      const Tensor& parameter = layer_.parameters[i];
      if (parameter->requires_grad && parameter->grad == nullptr)
        parameter.set_grad(owner_.tape_.empty(parameter.sizes(), parameter.type()));
      if (relays[i] != nullptr) relays[i]->inner.run(relays[i]->accumulator, false);
    }
    pass.give(0, owner_.tape_.empty(record_->in.sizes, record_->in.type));
    gradient_.reset();
  }

  LayerRepeater& owner_;
  const StackLayer& layer_;
  std::shared_ptr<LayerRecord> record_;
  Tensor input_;
  Tensor gradient_;
  std::vector<AllocationId> ids_;   ///< of record.left
  std::vector<Storage*> storages_;  ///< of those that others see
  bool has_run_ = false;
};

LayerRepeater::LayerRepeater(Tape& tape) : tape_(tape) {}
LayerRepeater::~LayerRepeater() = default;

void LayerRepeater::set_layers(std::vector<StackLayer> layers) {
  layers_ = std::move(layers);
  kinds_.clear();
  places_.clear();
  for (const StackLayer& layer : layers_) {
    const auto kind = static_cast<std::size_t>(layer.kind);
    if (kinds_.size() <= kind) kinds_.resize(kind + 1);
    if (kinds_[kind].count == 1) kinds_[kind].model = &layer;
    places_.push_back(kinds_[kind].count++);
  }
  relays_.clear();
  for (const StackLayer& layer : layers_) {
    auto& relays = relays_.emplace_back(layer.parameters.size());
    for (std::size_t i = 0; i < relays.size(); ++i) {
      Node* const accumulator = layer.parameters[i]->accumulator;
      if (accumulator == nullptr || accumulator->hook == nullptr) continue;
      relays[i] = std::make_unique<Relay>(*this, static_cast<int>(relays_.size()) - 1, static_cast<std::uint32_t>(i),
                                          *accumulator);
      accumulator->hook = relays[i].get();
    }
  }
}

LayerRepeater::Way LayerRepeater::begin(int number, const Tensor& in) {
  const auto index = static_cast<std::size_t>(number);
  if (index >= layers_.size() || has_failed_) return Way::kReal;
  if (number == 0) begin_pass();
  if (!tape_.grad_enabled() || tape_.saved_hooks() != nullptr) return Way::kReal;
  Kind& kind = kinds_[static_cast<std::size_t>(layers_[index].kind)];
  const int place = places_[index];
  if (kind.count < kFewestAlike || place == 0) return Way::kReal;
  if (place == 1 || (place + 1 == kind.count && kind.record != nullptr)) {
    kind.forward.emplace(tape_, in, kept_);
    return Way::kRecorded;
  }
  if (kind.record == nullptr) return Way::kReal;
  const bool is_alike = look_of(*in.get()) == kind.record->in && in->grad_fn != nullptr && in->output_number == 0 &&
                        (tape_.autocast() != nullptr) == kind.record->has_autocast &&
                        are_alike(layers_[index].parameters, kind.model->parameters);
  if (is_alike) return Way::kRepeated;
  kind.record = nullptr;
  return Way::kReal;
}

void LayerRepeater::begin_pass() {
  for (Kind& kind : kinds_) {
    kind.record.reset();
    kind.backward.reset();
  }
  boundaries_.clear();
}

void LayerRepeater::end(int number, const Tensor& in, const Tensor& out) {
  const StackLayer& layer = layers_[static_cast<std::size_t>(number)];
  Kind& kind = kinds_[static_cast<std::size_t>(layer.kind)];
  auto record = std::make_shared<LayerRecord>();
  std::vector<AllocationId> ids;
  const bool is_good = kind.forward->finish(in, out, layer.parameters, *record, ids);
  kind.forward.reset();
  if (places_[static_cast<std::size_t>(number)] == 1) {
    if (is_good) kind.record = std::move(record);
    return;
  }
  if (!is_good || !record->is_same_forward(*kind.record)) return fail();
  kind.last_ids = std::move(ids);
  kind.last_input = in->storage->id;
  boundary_of(out).begins = number;
  boundary_of(in).ends = number;
}

LayerRepeater::Boundary& LayerRepeater::boundary_of(const Tensor& tensor) {
  Node* node = tensor->grad_fn;
  for (const auto& each : boundaries_)
    if (node->hook == each.get()) return *each;
  if (node->hook != nullptr) fail();
  node->hook = boundaries_.emplace_back(std::make_unique<Boundary>(*this)).get();
  return *boundaries_.back();
}

// The backward pass of a layer is all that runs between the two moments at which nothing else is ready.
void LayerRepeater::reached(const Boundary& boundary, const Node& node, bool is_alone) {
  if (!is_alone) return fail();
  const auto kind_of = [this](int number) -> Kind& {
    return kinds_[static_cast<std::size_t>(layers_[static_cast<std::size_t>(number)].kind)];
  };
  if (boundary.ends >= 0) {
    Kind& kind = kind_of(boundary.ends);
    const StackLayer& layer = layers_[static_cast<std::size_t>(boundary.ends)];
    if (!kind.backward || !kind.backward->finish(node.arrived[0], layer.parameters, *kind.record)) fail();
    kind.backward.reset();
  }
  if (boundary.begins >= 0) {
    Kind& kind = kind_of(boundary.begins);
    const StackLayer& layer = layers_[static_cast<std::size_t>(boundary.begins)];
    kind.recorded = boundary.begins;
    kind.backward.emplace(tape_, *kind.record, kind.last_ids, kind.last_input, node.arrived[0], layer.parameters);
  }
}

Tensor LayerRepeater::repeated(int number, const Tensor& in) {
  const StackLayer& layer = layers_[static_cast<std::size_t>(number)];
  auto* instance = new Instance(*this, layer, kinds_[static_cast<std::size_t>(layer.kind)].record);
  ++repeated_;
  Tensor out = instance->forward(in);
  const Tensor* const outputs[] = {&out};
  const Tensor* const inputs[] = {&in};
  Node* node =
      internal::make_node(tape_, {.outputs = outputs,
                                  .inputs = inputs,
                                  .saved = {},
                                  .numbers = {},
                                  .captured_bytes = sizeof(Instance*),
                                  .function = [](Backward& pass, const std::byte* captured) {
                                    (*std::launder(reinterpret_cast<Instance* const*>(captured)))->backward(pass);
                                  }});
  new (node->captured) Instance*(instance);
  node->hooks = instance;
  instance->references = 1;
  return out;
}

}  // namespace vramwise::tape

// grouped_mm_experts_forward, line by line.

#include "models/decoders/experts.h"

#include <utility>
#include <vector>

#include "tape/ops/grouped_mm.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/softmax.h"
#include "tape/ops/sort.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

TopKRouter::TopKRouter(ParameterMaker& m, const StackConfig& decoder, const ExpertsConfig& config)
    : weight(m.parameter("mlp.gate.weight", {config.experts, decoder.hidden_size})), config(config) {}

TopKRouter::Routing TopKRouter::operator()(const Tensor& hidden) const {
  const Tensor rows = reshape(hidden, {-1, hidden.size(-1)});
  Tensor logits = linear(rows, weight);
  const Tensor probabilities =
      config.scores_are_float32 ? softmax(to(logits, DType::kFloat32), -1) : softmax(logits, -1, DType::kFloat32);
  auto [scores, experts] = topk(probabilities, config.chosen, -1);
  if (config.normalizes_scores) div_(scores, sum(scores, {-1}, true));
  if (!config.scores_are_float32) scores = to(scores, logits.type());
  return {std::move(logits), std::move(scores), std::move(experts)};
}

Experts::Experts(ParameterMaker& m, const StackConfig& decoder, const ExpertsConfig& config)
    : gate_up_proj(
          m.parameter("mlp.experts.gate_up_proj", {config.experts, 2 * config.inner_size, decoder.hidden_size})),
      down_proj(m.parameter("mlp.experts.down_proj", {config.experts, decoder.hidden_size, config.inner_size})),
      activation(decoder.activation) {}

namespace {

Tensor grouped_linear(const Tensor& x, const Tensor& weight, const Tensor& ends) {
  const bool is_native = x.tape().hardware().capability >= 80;
  return is_native ? grouped_mm(to(x, weight.type()), transpose(weight, -2, -1), ends)
                   : grouped_mm_fallback(to(x, weight.type()), transpose(weight, -2, -1), ends);
}

Tensor apply_gate(Activation activation, const Tensor& both) {
  const std::vector<Tensor> halves = chunk(both, 2, -1);
  Tensor gate = activate(activation, halves[0]);
  return std::move(gate) * halves[1];
}

}  // namespace

Tensor Experts::operator()(const Tensor& hidden, const Tensor& chosen, const Tensor& scores) const {
  Tape& tape = hidden.tape();
  const std::int64_t tokens = hidden.size(0);
  const std::int64_t each = chosen.size(-1);
  const std::int64_t experts = gate_up_proj.size(0);
  const Tensor sample_weights = reshape(scores, {-1});
  const Tensor expert_ids = reshape(chosen, {-1});
  const auto [sorted_ids, order] = sort(expert_ids);
  const Tensor selected = index_first(hidden, floor_divide(order, each));
  const Tensor selected_weights = index_first(sample_weights, order);
  const Tensor histogram_input = to(sorted_ids, DType::kInt32);
  const Tensor tokens_per_expert = histc(histogram_input, experts);
  const Tensor ends = cumsum(tokens_per_expert, 0, DType::kInt32);
  Tensor projected = grouped_linear(selected, gate_up_proj, ends);
  projected = apply_gate(activation, projected);
  projected = grouped_linear(projected, down_proj, ends);
  Tensor weighted = projected * unsqueeze(selected_weights, -1);
  const Tensor back = empty_like(order);
  put_first_(back, order, arange(tape, order.size(0)));
  weighted = index_first(weighted, back);
  const Tensor final_hidden = sum(view(weighted, {tokens, each, hidden.size(-1)}), {1});
  return to(final_hidden, hidden.type());
}

void read_experts(ConfigReader& r, ExpertsConfig& c, const char* experts_key, const char* inner_key) {
  c.experts = r.dimension(experts_key, c.experts);
  c.chosen = r.dimension("num_experts_per_tok", c.chosen);
  c.inner_size = r.dimension(inner_key, c.inner_size);
  if (c.chosen > c.experts) r.fail(usage_error("num_experts_per_tok is more than there are experts"));
  if (c.experts == 1) r.fail(not_modelled("a mixture of one expert is not modelled"));
  if (r.flag("output_router_logits", false))
    r.fail(not_modelled("the routers' auxiliary loss (output_router_logits) is not modelled"));
}

}  // namespace vramwise

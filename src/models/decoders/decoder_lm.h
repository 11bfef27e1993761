// What decoder-only language models of transformers 5 share around their layers: the head and the loss.
#pragma once

#include <vector>

#include "models/causal_lm.h"
#include "models/module.h"
#include "models/parts/attention.h"

namespace vramwise {

/// A …ForCausalLM of transformers: a stack of layers, which the architecture runs, and the head over it.
class DecoderLm : public CausalLm {
 public:
  const std::vector<Tensor>& parameters() const override { return parameters_; }
  const std::vector<NamedParameter>& named_parameters() const override { return maker_.made(); }
  const std::vector<NamedParameter>& named_buffers() const override { return maker_.buffers(); }

 protected:
  Tensor loss(const Tensor& input_ids, const Tensor& labels) override;
  DecoderLm(tape::Tape& tape, DType type, const ForwardOptions& options)
      : options_(options), maker_(tape, type, options.lora, options.stored, options.quantization) {
    maker_.set_tensor_sharing(options.tensor_sharing);
    maker_.set_init(options.init);
  }

  struct Head {
    Tensor embeddings;
    bool is_tied = false;  ///< its weight is that of the embeddings
    std::int64_t width = 0;
    std::int64_t vocab_size = 0;
    bool has_bias = false;
  };
  /// The last thing that a constructor does.
  void make_head(const Head& head);
  /// (batch, length, width).
  virtual Tensor hidden_states(const Tensor& input_ids, KeyValueCache& cache) = 0;
  /// What becomes of the head's output before the loss.
  virtual Tensor transformed(Tensor logits) const { return logits; }

  ForwardOptions options_;
  ParameterMaker maker_;

 private:
  Tensor forward(const Tensor& input_ids, const Tensor& labels);

  Linear head_;
  std::vector<Tensor> parameters_;
  ModuleTag tag_, base_tag_;  ///< of the whole model, and of what is below the head
};

/// ForCausalLMLoss: float32 logits, labels shifted by one.
Tensor causal_lm_loss(const Tensor& logits, const Tensor& labels);

}  // namespace vramwise

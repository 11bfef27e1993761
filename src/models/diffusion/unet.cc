// UNet2DConditionModel, line by line: residual blocks and transformers on ever smaller latents, then the way back,
// where each block also gets what came out of its twin on the way down. Trained as diffusers' train_text_to_image.py
// does.

#include "models/diffusion/unet.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "tape/ops/attention.h"
#include "tape/ops/convolution.h"
#include "tape/ops/norm.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/pool.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"
#include "tape/transforms/checkpoint.h"

namespace vramwise {
namespace {

using namespace tape;  // the model reads as in PyTorch

struct Conv {
  Tensor weight, bias;
  ConvolutionOptions options;

  Conv() = default;
  Conv(ParameterMaker& m, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1)
      : weight(m.parameter("conv.weight", {out, in, kernel, kernel})),
        bias(m.parameter("conv.bias", {out})),
        options{.stride = stride, .padding = kernel / 2} {}

  Tensor operator()(const Tensor& x) const { return conv2d(x, weight, bias, options); }
};

struct GroupNorm {
  Tensor weight, bias;
  int groups = 32;

  GroupNorm() = default;
  GroupNorm(ParameterMaker& m, std::int64_t channels, std::int64_t groups)
      : weight(m.parameter("norm.weight", {channels})),
        bias(m.parameter("norm.bias", {channels})),
        groups(static_cast<int>(groups)) {}

  Tensor operator()(const Tensor& x) const { return group_norm(x, groups, weight, bias); }
};

// get_timestep_embedding with its cosines first.
Tensor sinusoids(const Tensor& steps, std::int64_t width) {
  const std::int64_t half = width / 2;
  Tensor exponent = arange(steps.tape(), half, DType::kFloat32) * 0.5;
  exponent = exponent / 2.0;
  Tensor emb = tape::exp(exponent);
  {
    const Tensor times = to(unsqueeze(steps, 1), DType::kFloat32);
    emb = times * unsqueeze(emb, 0);
  }
  emb = 1.0 * emb;
  {
    const Tensor sines = sin(emb);
    emb = cat({sines, cos(emb)}, -1);
  }
  emb = cat({slice(emb, 1, half, width), slice(emb, 1, 0, half)}, -1);
  return emb;
}

struct TimeEmbedding {
  Linear linear_1, linear_2;

  TimeEmbedding(ParameterMaker& m, std::int64_t in, std::int64_t width)
      : linear_1(m, "linear_1", in, width, true), linear_2(m, "linear_2", width, width, true) {}

  Tensor operator()(const Tensor& x) const {
    Tensor sample = linear_1(x);
    sample = silu(sample);
    sample = linear_2(sample);
    return sample;
  }
};

// Attention with AttnProcessor2_0.
struct UnetAttention {
  Linear to_q, to_k, to_v, to_out;
  std::int64_t heads;

  UnetAttention(ParameterMaker& m, std::int64_t width, std::int64_t other, std::int64_t heads)
      : to_q(m, "to_q", width, width, false),
        to_k(m, "to_k", other, width, false),
        to_v(m, "to_v", other, width, false),
        to_out(m, "to_out.0", width, width, true),
        heads(heads) {}

  Tensor heads_of(const Tensor& x) const { return transpose(view(x, {x.size(0), -1, heads, x.size(2) / heads}), 1, 2); }

  Tensor operator()(const Tensor& x, const Tensor& other) const {
    Tensor query = to_q(x);
    Tensor key = to_k(other);
    Tensor value = to_v(other);
    query = heads_of(query);
    key = heads_of(key);
    value = heads_of(value);
    Tensor hidden = scaled_dot_product_attention(query, key, value);
    hidden = reshape(transpose(hidden, 1, 2), {x.size(0), -1, x.size(2)});
    hidden = tape::to(hidden, query.type());
    hidden = to_out(hidden);
    hidden = hidden / 1.0;
    return hidden;
  }
};

struct GatedFeedForward {
  Linear proj, out;

  GatedFeedForward(ParameterMaker& m, std::int64_t width)
      : proj(m, "ff.net.0.proj", width, 8 * width, true), out(m, "ff.net.2", 4 * width, width, true) {}

  Tensor gated(const Tensor& x) const {
    std::vector<Tensor> parts = chunk(proj(x), 2, -1);
    const Tensor hidden = std::move(parts[0]);
    const Tensor gate = std::move(parts[1]);
    return hidden * gelu(gate);
  }

  Tensor operator()(const Tensor& x) const {
    Tensor hidden = gated(x);
    hidden = out(hidden);
    return hidden;
  }
};

struct TransformerBlock {
  LayerNorm norm1;
  UnetAttention attn1;
  LayerNorm norm2;
  UnetAttention attn2;
  LayerNorm norm3;
  GatedFeedForward ff;

  TransformerBlock(ParameterMaker& m, const UnetConfig& c, const UnetLevel& level)
      : norm1(m, "norm1", level.channels),
        attn1(m, level.channels, level.channels, level.heads),
        norm2(m, "norm2", level.channels),
        attn2(m, level.channels, c.text_width, level.heads),
        norm3(m, "norm3", level.channels),
        ff(m, level.channels) {}

  Tensor operator()(const Tensor& x, const Tensor& text) const {
    Tensor normed = norm1(x);
    Tensor attended = attn1(normed, normed);
    Tensor hidden = attended + x;
    normed = norm2(hidden);
    attended = attn2(normed, text);
    hidden = attended + hidden;
    normed = norm3(hidden);
    const Tensor fed = ff(normed);
    hidden = fed + hidden;
    return hidden;
  }
};

// One block of the model under gradient checkpointing, or as it is.
template <typename Part>
Tensor run(const Part& part, const Tensor& x, const Tensor& second, bool checkpoints) {
  if (!checkpoints) return part(x, second);
  return checkpoint(x.tape(), [&part](const std::vector<Tensor>& in) { return part(in[0], in[1]); }, {x, second});
}

struct Transformer {
  GroupNorm norm;
  std::optional<Conv> conv_in, conv_out;
  std::optional<Linear> linear_in, linear_out;
  std::vector<TransformerBlock> blocks;

  Transformer(ParameterMaker& m, const UnetConfig& c, const UnetLevel& level) : norm(m, level.channels, c.groups) {
    const std::int64_t width = level.channels;
    if (c.projects_linearly) {
      linear_in.emplace(m, "proj_in", width, width, true);
    } else {
      conv_in.emplace(m, width, width, 1);
    }
    for (std::int64_t i = 0; i < level.transformer_layers; ++i) blocks.emplace_back(m, c, level);
    if (c.projects_linearly) {
      linear_out.emplace(m, "proj_out", width, width, true);
    } else {
      conv_out.emplace(m, width, width, 1);
    }
  }

  static Tensor as_tokens(const Tensor& x) {
    return reshape(permute(x, {0, 2, 3, 1}), {x.size(0), x.size(2) * x.size(3), x.size(1)});
  }
  static Tensor as_image(const Tensor& tokens, const Tensor& like) {
    return contiguous(permute(reshape(tokens, {like.size(0), like.size(2), like.size(3), -1}), {0, 3, 1, 2}));
  }

  Tensor entered(const Tensor& x) const {
    Tensor hidden = norm(x);
    if (conv_in) {
      hidden = (*conv_in)(hidden);
      return as_tokens(hidden);
    }
    hidden = as_tokens(hidden);
    hidden = (*linear_in)(hidden);
    return hidden;
  }

  Tensor left(const Tensor& tokens, const Tensor& residual) const {
    Tensor hidden;
    if (conv_out) {
      hidden = as_image(tokens, residual);
      hidden = (*conv_out)(hidden);
    } else {
      hidden = (*linear_out)(tokens);
      hidden = as_image(hidden, residual);
    }
    return hidden + residual;
  }

  Tensor operator()(const Tensor& x, const Tensor& text, bool checkpoints) const {
    Tensor hidden = entered(x);
    for (const TransformerBlock& block : blocks) hidden = run(block, hidden, text, checkpoints);
    return left(hidden, x);
  }
};

// ResnetBlock2D
struct ResidualBlock {
  GroupNorm norm1;
  Conv conv1;
  Linear time_emb_proj;
  GroupNorm norm2;
  Conv conv2;
  std::optional<Conv> shortcut;

  ResidualBlock(ParameterMaker& m, const UnetConfig& c, std::int64_t in, std::int64_t out)
      : norm1(m, in, c.groups),
        conv1(m, in, out, 3),
        time_emb_proj(m, "time_emb_proj", 4 * c.levels.front().channels, out, true),
        norm2(m, out, c.groups),
        conv2(m, out, out, 3) {
    if (in != out) shortcut.emplace(m, in, out, 1);
  }

  Tensor operator()(const Tensor& x, const Tensor& time) const {
    Tensor hidden = norm1(x);
    hidden = silu(hidden);
    hidden = conv1(hidden);
    Tensor temb = silu(time);
    temb = time_emb_proj(temb);
    temb = unsqueeze(unsqueeze(temb, 2), 3);
    hidden = hidden + temb;
    hidden = norm2(hidden);
    hidden = silu(hidden);
    hidden = conv2(hidden);
    Tensor input = x;
    if (shortcut) {
      input = contiguous(input);
      input = (*shortcut)(input);
    }
    return (input + hidden) / 1.0;
  }
};

// What goes through all blocks unchanged.
struct Conditions {
  Tensor time;
  Tensor text;
  bool checkpoints = false;
};

struct DownBlock {
  std::vector<Transformer> transformers;
  std::vector<ResidualBlock> residuals;
  std::optional<Conv> downsampler;

  DownBlock(ParameterMaker& m, const UnetConfig& c, std::size_t level) {
    const UnetLevel& here = c.levels[level];
    const std::int64_t before = c.levels[level == 0 ? 0 : level - 1].channels;
    if (here.attends_down)
      for (std::int64_t i = 0; i < c.layers_per_block; ++i) transformers.emplace_back(m, c, here);
    for (std::int64_t i = 0; i < c.layers_per_block; ++i)
      residuals.emplace_back(m, c, i == 0 ? before : here.channels, here.channels);
    if (level + 1 < c.levels.size()) downsampler.emplace(m, here.channels, here.channels, 3, 2);
  }

  Tensor operator()(const Tensor& x, const Conditions& with, std::vector<Tensor>& kept) const {
    Tensor hidden = x;
    for (std::size_t i = 0; i < residuals.size(); ++i) {
      hidden = run(residuals[i], hidden, with.time, with.checkpoints);
      if (!transformers.empty()) hidden = transformers[i](hidden, with.text, with.checkpoints);
      kept.push_back(hidden);
    }
    if (downsampler) {
      hidden = (*downsampler)(hidden);
      kept.push_back(hidden);
    }
    return hidden;
  }
};

struct MidBlock {
  Transformer transformer;
  ResidualBlock before, after;

  MidBlock(ParameterMaker& m, const UnetConfig& c)
      : transformer(m, c, c.levels.back()),
        before(m, c, c.levels.back().channels, c.levels.back().channels),
        after(m, c, c.levels.back().channels, c.levels.back().channels) {}

  Tensor operator()(const Tensor& x, const Conditions& with) const {
    Tensor hidden = before(x, with.time);
    hidden = transformer(hidden, with.text, with.checkpoints);
    hidden = run(after, hidden, with.time, with.checkpoints);
    return hidden;
  }
};

struct UpBlock {
  std::vector<Transformer> transformers;
  std::vector<ResidualBlock> residuals;
  std::optional<Conv> upsampler;

  UpBlock(ParameterMaker& m, const UnetConfig& c, std::size_t level) {
    const UnetLevel& here = c.levels[level];
    const std::int64_t below = c.levels[std::min(level + 1, c.levels.size() - 1)].channels;
    const std::int64_t above = c.levels[level == 0 ? 0 : level - 1].channels;
    const std::int64_t count = c.layers_per_block + 1;
    if (here.attends_up)
      for (std::int64_t i = 0; i < count; ++i) transformers.emplace_back(m, c, here);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t skipped = i + 1 == count ? above : here.channels;
      residuals.emplace_back(m, c, (i == 0 ? below : here.channels) + skipped, here.channels);
    }
    if (level > 0) upsampler.emplace(m, here.channels, here.channels, 3);
  }

  /// `kept`: of the way down, the last one first to be used. `size`: what the latents grow to.
  Tensor operator()(const Tensor& x, const Conditions& with, const std::vector<Tensor>& kept, const Dims& size) const {
    Tensor hidden = x;
    for (std::size_t i = 0; i < residuals.size(); ++i) {
      hidden = cat({hidden, kept[kept.size() - 1 - i]}, 1);
      hidden = run(residuals[i], hidden, with.time, with.checkpoints);
      if (!transformers.empty()) hidden = transformers[i](hidden, with.text, with.checkpoints);
    }
    if (!upsampler) return hidden;
    const Tensor larger = upsample_nearest(hidden, size[2], size[3]);
    return (*upsampler)(larger);
  }
};

class Unet final : public Model {
 public:
  Unet(Tape& tape, const UnetConfig& config, DType type, const ForwardOptions& options)
      : options_(options),
        maker_(tape, type, options.lora),
        config_(config),
        conv_in_(maker_, config.in_channels, first_width(), 3),
        time_embedding_(maker_, first_width(), 4 * first_width()) {
    if (config.time_ids_width > 0) add_embedding_.emplace(maker_, config.added_width, 4 * first_width());
    const std::size_t levels = config.levels.size();
    for (std::size_t i = 0; i < levels; ++i) down_.emplace_back(maker_, config, i);
    for (std::size_t i = levels; i-- > 0;) up_.emplace_back(maker_, config, i);
    mid_.emplace(maker_, config);
    norm_out_ = GroupNorm(maker_, first_width(), config.groups);
    conv_out_ = Conv(maker_, first_width(), config.out_channels, 3);
    maker_.finish();
    parameters_ = maker_.tensors();
  }

  const std::vector<Tensor>& parameters() const override { return parameters_; }
  const std::vector<NamedParameter>& named_parameters() const override { return maker_.made(); }
  const std::vector<NamedParameter>& named_buffers() const override { return maker_.buffers(); }

  std::vector<BatchTensor> inputs(const BatchSize& size) const override {
    const std::int64_t side = size.image_size;
    const DType type = maker_.type();
    std::vector<BatchTensor> made = {
        {"sample", {size.samples, config_.in_channels, side, side}, type},
        {"timestep", {size.samples}, DType::kInt64},
        {"encoder_hidden_states", {size.samples, size.tokens, config_.text_width}, type},
        {"target", {size.samples, config_.out_channels, side, side}, type},
    };
    if (config_.time_ids_width == 0) return made;
    made.push_back({"text_embeds", {size.samples, config_.added_width - kTimeIds * config_.time_ids_width}, type});
    made.push_back({"time_ids", {size.samples, kTimeIds}, type});
    return made;
  }

  Tensor loss(const Batch& batch) override {
    const Tensor predicted = noise(batch);
    if (options_.loss_mark) predicted.tape().mark(*options_.loss_mark);
    const Tensor wide = to(predicted, DType::kFloat32);
    return mse_loss(wide, to(batch[3], DType::kFloat32));
  }

 private:
  static constexpr std::int64_t kTimeIds = 6;

  std::int64_t first_width() const { return config_.levels.front().channels; }

  Tensor added_embedding(const Batch& batch, const Tensor& time) const {
    const Tensor& text = batch[4];
    Tensor times = sinusoids(reshape(batch[5], {-1}), config_.time_ids_width);
    times = reshape(times, {text.size(0), -1});
    Tensor added = cat({text, times}, -1);
    added = to(added, time.type());
    return (*add_embedding_)(added);
  }

  Tensor noise(const Batch& batch) const {
    Tensor sample = batch[0];
    const Tensor t_emb = to(sinusoids(batch[1], first_width()), sample.type());
    Conditions with{.time = time_embedding_(t_emb), .text = batch[2], .checkpoints = options_.checkpoints()};
    Tensor added;
    if (add_embedding_) {
      added = added_embedding(batch, with.time);
      with.time = with.time + added;
    }
    sample = conv_in_(sample);
    std::vector<Tensor> kept = {sample};
    for (const DownBlock& block : down_) sample = block(sample, with, kept);
    sample = (*mid_)(sample, with);
    std::vector<Tensor> own;
    for (const UpBlock& block : up_) {
      const auto count = static_cast<std::ptrdiff_t>(block.residuals.size());
      own.assign(kept.end() - count, kept.end());
      kept.erase(kept.end() - count, kept.end());
      sample = block(sample, with, own, kept.empty() ? sample.sizes() : kept.back().sizes());
    }
    sample = norm_out_(sample);
    sample = silu(sample);
    sample = conv_out_(sample);
    return sample;
  }

  ForwardOptions options_;
  ParameterMaker maker_;
  UnetConfig config_;
  Conv conv_in_;
  TimeEmbedding time_embedding_;
  std::optional<TimeEmbedding> add_embedding_;
  std::vector<DownBlock> down_;
  std::vector<UpBlock> up_;
  std::optional<MidBlock> mid_;
  GroupNorm norm_out_;
  Conv conv_out_;
  std::vector<Tensor> parameters_;
};

}  // namespace

std::unique_ptr<Model> unet(tape::Tape& tape, const UnetConfig& config, DType type, const ForwardOptions& options) {
  return std::make_unique<Unet>(tape, config, type, options);
}

}  // namespace vramwise

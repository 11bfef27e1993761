// published_throughput RUNS.csv [--all]: the time model against throughputs that others measured and published.
//
// The published program's model is put together on the tape (MPT: MosaicML's GPT with layer norms and GELU), its work
// counted, and the work turned into seconds by the catalogue's rates. Nothing here was fitted to the published figures.
// Prints a table in Markdown and what docs/accuracy.md says of it; --all prints every row.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/text.h"
#include "base/units.h"
#include "cost/device_rates.h"
#include "cost/work_time.h"
#include "gpus/catalogue.h"
#include "tape/engine.h"
#include "tape/ops/attention.h"
#include "tape/ops/index.h"
#include "tape/ops/linear.h"
#include "tape/ops/norm.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"
#include "tape/optim/optimizer.h"
#include "tape/tape.h"
#include "tape/transforms/checkpoint.h"

namespace vramwise {
namespace {

using tape::DType;
using tape::Tensor;

struct PublishedRun {
  std::string card;
  std::string model;
  std::int64_t hidden = 0, layers = 0, heads = 0, vocab = 0, seq_len = 0, micro_batch = 0, accumulation = 0, cards = 0;
  bool checkpoints = false;
  std::string precision;
  double measured = 0;  ///< tokens a second on each card
  double predicted = 0;
};

struct Block {
  Tensor norm_1, norm_2, qkv, out, up, down;

  Block(tape::Tape& t, std::int64_t width)
      : norm_1(t.parameter({width}, DType::kBFloat16)),
        norm_2(t.parameter({width}, DType::kBFloat16)),
        qkv(t.parameter({3 * width, width}, DType::kBFloat16)),
        out(t.parameter({width, width}, DType::kBFloat16)),
        up(t.parameter({4 * width, width}, DType::kBFloat16)),
        down(t.parameter({width, 4 * width}, DType::kBFloat16)) {}

  Tensor operator()(const Tensor& x, std::int64_t heads) const {
    const tape::Dims shape = {x.size(0), x.size(1), heads, x.size(2) / heads};
    std::vector<Tensor> parts = tape::split(tape::linear(tape::layer_norm(x, norm_1, {}), qkv), x.size(2), 2);
    for (Tensor& part : parts) part = tape::transpose(tape::view(std::move(part), shape), 1, 2);
    Tensor mixed = tape::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, {.is_causal = true});
    mixed = tape::reshape(tape::transpose(std::move(mixed), 1, 2), {x.size(0), x.size(1), x.size(2)});
    const Tensor middle = tape::add(x, tape::linear(std::move(mixed), out));
    Tensor inner = tape::gelu(tape::linear(tape::layer_norm(middle, norm_2, {}), up));
    return tape::add(middle, tape::linear(std::move(inner), down));
  }

  std::vector<Tensor> parameters() const { return {norm_1, norm_2, qkv, out, up, down}; }
};

struct StepWork {
  tape::Work pass;       ///< forward and backward pass of a micro-batch
  tape::Work optimizer;  ///< of all parameters, in the passes' precision
  double parameters = 0;
};

StepWork work_of(const PublishedRun& run, const GpuModel& card) {
  tape::Tape t(hardware_of(card));
  StepWork result;
  {
    const Tensor table = t.parameter({run.vocab, run.hidden}, DType::kBFloat16);
    const Tensor positions = t.parameter({run.seq_len, run.hidden}, DType::kBFloat16);
    const Tensor last_norm = t.parameter({run.hidden}, DType::kBFloat16);
    std::vector<Block> blocks;
    blocks.reserve(static_cast<std::size_t>(run.layers));
    for (std::int64_t i = 0; i < run.layers; ++i) blocks.emplace_back(t, run.hidden);
    std::vector<Tensor> parameters = {table, positions, last_norm};
    for (const Block& block : blocks) {
      for (Tensor& parameter : block.parameters()) parameters.push_back(std::move(parameter));
    }
    for (const Tensor& parameter : parameters) result.parameters += static_cast<double>(parameter.numel());
    {
      const Tensor ids = t.empty({run.micro_batch, run.seq_len}, DType::kInt64);
      Tensor x = tape::add(tape::embedding(table, ids), positions);
      for (const Block& block : blocks) {
        const auto apply = [&block, heads = run.heads](const std::vector<Tensor>& in) { return block(in[0], heads); };
        x = run.checkpoints ? tape::checkpoint(t, apply, {x}) : apply({x});
      }
      const Tensor logits = tape::linear(tape::layer_norm(x, last_norm, {}), table);
      x.reset();
      tape::backward(tape::cross_entropy(tape::view(logits, {-1, run.vocab}), tape::view(ids, {-1})));
    }
    result.pass = t.work();
    const auto optimizer = tape::adamw(parameters, tape::StepKind::kForeach);
    optimizer->step();
    result.optimizer = t.work() - result.pass;
  }
  return result;
}

/// Weights are sharded: gathered for the forward and the backward pass of each micro-batch, gradients reduced and
/// scattered, in bf16 over NVLink while kernels run; each card updates its own part, in fp32.
double seconds_of(const PublishedRun& run, const GpuModel& card) {
  DeviceRates rates = device_rates(card);
  // These runs had FlashAttention 1 (in Triton), which reaches 25 to 40 % of an A100's peak (arXiv:2307.08691).
  constexpr double kFlashAttention1 = 0.325;
  rates.attention_16bit_flop_s =
      std::min(rates.attention_16bit_flop_s, kFlashAttention1 * card.tflops.bf16.value_or(0) * 1e12);
  const StepWork work = work_of(run, card);
  const double others = static_cast<double>(run.cards - 1) / static_cast<double>(run.cards);
  const double link = card.nvlink_gb_s.value_or(64) / 2 * 1e9 * 0.8;
  const double exchanged = 3 * 2 * work.parameters * others / link;
  const double pass = std::max(seconds_of(work.pass, rates, Precision::kBf16), exchanged);
  const double update = 2 * seconds_of(work.optimizer, rates, Precision::kBf16) / static_cast<double>(run.cards);
  return static_cast<double>(run.accumulation) * pass + update;
}

std::vector<PublishedRun> read_runs(const std::string& path) {
  std::ifstream file(path);
  std::vector<PublishedRun> runs;
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> c = split(line, ',');
    if (line.starts_with('#') || c.size() != 13 || c[0] == "card") continue;
    const auto number = [&](std::size_t i) { return parse_integer(c[i]).value_or(0); };
    runs.push_back({.card = c[0],
                    .model = c[1],
                    .hidden = number(2),
                    .layers = number(3),
                    .heads = number(4),
                    .vocab = number(5),
                    .seq_len = number(6),
                    .micro_batch = number(7),
                    .accumulation = number(8),
                    .cards = number(9),
                    .checkpoints = c[10] == "1",
                    .precision = c[11],
                    .measured = static_cast<double>(number(12))});
  }
  return runs;
}

double error(const PublishedRun& run) { return run.predicted / run.measured - 1; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

/// Pairs whose measured speeds differ by more than a tenth, and how many of them the prediction orders the same way.
struct Ranking {
  int pairs = 0;
  int right = 0;

  void compare(const PublishedRun& a, const PublishedRun& b) {
    if (std::max(a.measured, b.measured) < 1.1 * std::min(a.measured, b.measured)) return;
    ++pairs;
    right += (a.measured < b.measured) == (a.predicted < b.predicted) ? 1 : 0;
  }
  std::string text() const {
    return fmt::format("{} of {} ({:.1f} %)", right, pairs, pairs > 0 ? 100.0 * right / pairs : 0);
  }
};

void print_summary(const std::vector<PublishedRun>& runs) {
  std::map<std::string, std::vector<double>> by_card;
  std::vector<double> all, signed_errors;
  Ranking any, same_card, same_model;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    by_card[runs[i].card].push_back(std::fabs(error(runs[i])));
    all.push_back(std::fabs(error(runs[i])));
    signed_errors.push_back(error(runs[i]));
    for (std::size_t j = 0; j < i; ++j) {
      any.compare(runs[i], runs[j]);
      if (runs[i].card == runs[j].card) same_card.compare(runs[i], runs[j]);
      if (runs[i].card == runs[j].card && runs[i].model == runs[j].model) same_model.compare(runs[i], runs[j]);
    }
  }
  fmt::print("\n{} runs: median error {:.1f} %, worst {:.1f} %, median signed error {:+.1f} %\n", runs.size(),
             100 * median(all), 100 * *std::max_element(all.begin(), all.end()), 100 * median(signed_errors));
  std::vector<double> reached;
  reached.reserve(runs.size());
  for (const PublishedRun& run : runs) reached.push_back(run.measured / run.predicted);
  std::sort(reached.begin(), reached.end());
  fmt::print("  measured over predicted: nine tenths of the runs between {:.2f} and {:.2f}\n",
             reached[reached.size() / 20], reached[reached.size() - 1 - reached.size() / 20]);
  for (const auto& [card, errors] : by_card)
    fmt::print("  {}: {} runs, median error {:.1f} %\n", card, errors.size(), 100 * median(errors));
  fmt::print("pairs that differ by more than 10 %, ordered right: {}; on one card {}; one model on one card {}\n",
             any.text(), same_card.text(), same_model.text());
}

}  // namespace
}  // namespace vramwise

int main(int argc, char** argv) {
  using namespace vramwise;
  if (argc < 2) {
    fmt::print(stderr, "Usage: published_throughput RUNS.csv [--all]\n");
    return 2;
  }
  const bool all = argc > 2 && std::string(argv[2]) == "--all";
  std::vector<PublishedRun> runs = read_runs(argv[1]);
  if (runs.empty()) return 1;
  fmt::print("| card | model | batch x tokens x passes | recomputed | measured tokens/s | predicted | error |\n");
  fmt::print("|---|---|---|---|--:|--:|--:|\n");
  for (PublishedRun& run : runs) {
    const GpuModel* card = find_gpu(run.card);
    if (card == nullptr) return 1;
    const double tokens = static_cast<double>(run.micro_batch * run.seq_len * run.accumulation);
    run.predicted = tokens / seconds_of(run, *card);
    if (!all && run.seq_len != 2048) continue;
    fmt::print("| {} | {} | {} x {} x {} | {} | {:.0f} | {:.0f} | {:+.1f} % |\n", run.card, run.model, run.micro_batch,
               run.seq_len, run.accumulation, run.checkpoints ? "yes" : "no", run.measured, run.predicted,
               100 * error(run));
  }
  print_summary(runs);
  return 0;
}

// Positions beyond the training length were never seen, so when the context is full, its older half is forgotten and
// the rest is read again.
#include "train/sampler.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/check.h"

namespace vramwise {
namespace {

std::int64_t choose(const torch::Tensor& logits, const SampleSettings& settings, std::mt19937_64& random) {
  const std::int64_t k = std::min(settings.top_k, logits.numel());
  const auto [values, ids] = logits.to(torch::kCPU, torch::kDouble).topk(k);
  const auto* value = values.const_data_ptr<double>();
  const auto* id = ids.const_data_ptr<std::int64_t>();
  std::vector<double> sums;
  sums.reserve(static_cast<std::size_t>(k));
  double sum = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    sum += std::exp((value[i] - value[0]) / settings.temperature);
    sums.push_back(sum);
  }
  // 53 bits, as std::uniform_real_distribution is not the same everywhere.
  const double drawn = static_cast<double>(random() >> 11) * 0x1p-53 * sum;
  const auto found = std::upper_bound(sums.begin(), sums.end(), drawn);
  // Weights that are not finite (a run that diverged) find nothing.
  return found == sums.end() ? id[0] : id[found - sums.begin()];
}

torch::Tensor as_ids(const std::vector<std::int64_t>& ids, torch::Device device) {
  return torch::tensor(ids, torch::kLong).unsqueeze(0).to(device);
}

}  // namespace

std::vector<std::int64_t> sample(Decoder& decoder, const std::vector<std::int64_t>& prompt,
                                 const SampleSettings& settings) {
  VRAMWISE_CHECK(!prompt.empty() && settings.context >= 2 && settings.temperature > 0 && settings.top_k >= 1);
  const torch::NoGradGuard no_grad;
  const torch::Device device = decoder.weights().front().device();
  std::mt19937_64 random(settings.seed);
  const auto context = static_cast<std::size_t>(settings.context);
  std::vector<std::int64_t> all(prompt.end() - static_cast<std::ptrdiff_t>(std::min(prompt.size(), context / 2)),
                                prompt.end());
  if (all.empty()) all.push_back(prompt.back());
  std::vector<std::int64_t> fresh = all;
  std::vector<std::int64_t> written;
  KvCache cache;
  while (static_cast<std::int64_t>(written.size()) < settings.tokens) {
    const std::int64_t next =
        choose(decoder.next_token_logits(as_ids(fresh, device), cache).flatten(), settings, random);
    written.push_back(next);
    all.push_back(next);
    fresh = {next};
    if (static_cast<std::size_t>(cache.length) >= context) {
      cache = KvCache();
      fresh.assign(all.end() - static_cast<std::ptrdiff_t>(std::max<std::size_t>(1, context / 2)), all.end());
    }
  }
  return written;
}

}  // namespace vramwise

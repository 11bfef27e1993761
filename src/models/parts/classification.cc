// Losses of loss/loss_utils.py where a class is one of several; regression and many labels at once are not modelled.

#include "models/parts/classification.h"

#include <string>

#include "tape/ops/softmax.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

std::int64_t read_label_count(ConfigReader& reader) {
  const std::int64_t listed = reader.entries("id2label");
  const std::int64_t labels = reader.dimension("num_labels", listed > 0 ? listed : 2);
  const std::string problem = reader.text("problem_type", "single_label_classification");
  if (labels == 1 || problem != "single_label_classification")
    reader.fail(not_modelled("a head for other than one class out of several is not modelled"));
  return labels;
}

Tensor classification_loss(const Tensor& logits, const Tensor& labels) {
  const Tensor rows = view(logits, {-1, logits.size(-1)});
  return cross_entropy(rows, view(labels, {-1}));
}

}  // namespace vramwise

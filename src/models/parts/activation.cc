// Each activation keeps the temporaries that its expression makes in Python.

#include "models/parts/activation.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

#include "tape/ops/pointwise.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

Activation activation_named(ConfigReader& reader, const char* key, const std::string& wanted) {
  constexpr std::array<std::pair<const char*, Activation>, 7> kNames = {{{"gelu", Activation::kGelu},
                                                                         {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                                                         {"gelu_new", Activation::kGeluNew},
                                                                         {"quick_gelu", Activation::kQuickGelu},
                                                                         {"relu", Activation::kRelu},
                                                                         {"silu", Activation::kSilu},
                                                                         {"swish", Activation::kSilu}}};
  for (const auto& [name, activation] : kNames)
    if (wanted == name) return activation;
  reader.fail(not_modelled(fmt::format("{} \"{}\" is not modelled for this architecture", key, wanted)));
  return Activation::kGelu;
}

Activation read_activation(ConfigReader& reader, const char* key, const char* fallback) {
  return activation_named(reader, key, reader.text(key, fallback));
}

Tensor activate(Activation activation, const Tensor& x) {
  switch (activation) {
    case Activation::kGelu:
      return gelu(x);
    case Activation::kGeluTanh:
      return gelu(x, Gelu::kTanh);
    case Activation::kGeluNew: {
      const Tensor half = 0.5 * x;
      return half * (tape::tanh(0.8 * (x + 0.044715 * tape::pow(x, 3))) + 1.0);
    }
    case Activation::kQuickGelu:
      return x * sigmoid(1.702 * x);
    case Activation::kRelu:
      return relu(x);
    case Activation::kSilu:
      break;
  }
  return silu(x);
}

}  // namespace vramwise

// Recurrent networks. Their weights lie where this file puts them: matrices of all layers, then biases, without gaps,
// so that the space that they take is the sum of them (as PyTorch counts it too). Workspace and reserve space of a pass
// are not published: the program gets none, and the ledger is incomplete.
#include <cstdint>

#include "emulator/dnn/descriptors.h"
#include "emulator/listed.h"

using namespace vramwise::emulator;

namespace {

constexpr int kBadParameter = 2000;

struct RnnDescriptor {
  int gates = 1;
  bool has_input_bias = true;
  bool has_recurrent_bias = true;
  int directions = 1;
  int data_type = 0;
  std::int64_t input = 0;
  std::int64_t hidden = 0;
  std::int64_t projected = 0;  ///< the output's size; `hidden` without a projection
  std::int64_t layers = 0;

  bool projects() const { return projected != hidden; }
  std::int64_t input_of(std::int64_t pseudo_layer) const {
    return pseudo_layer < directions ? input : projected * directions;
  }
};

/// A matrix of a layer, or its bias: [rows, columns] at `offset` (elements). No columns: there is none.
struct Part {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t offset = 0;
};

/// The shape of the matrix `id` of a layer: input matrices of all gates, recurrent ones, the projection.
Part matrix(const RnnDescriptor& rnn, std::int64_t layer, int id) {
  if (id < rnn.gates) return {rnn.hidden, rnn.input_of(layer), 0};
  if (id < 2 * rnn.gates) return {rnn.hidden, rnn.projected, 0};
  return {rnn.projected, rnn.projects() ? rnn.hidden : 0, 0};
}

Part bias(const RnnDescriptor& rnn, std::int64_t, int id) {
  const bool there = id < rnn.gates ? rnn.has_input_bias : id < 2 * rnn.gates && rnn.has_recurrent_bias;
  return {rnn.hidden, there ? 1 : 0, 0};
}

/// Walks all parts of one kind in their order; `visit(layer, id, part)`. Returns the elements that they take.
template <typename Shape, typename Visit>
std::int64_t walk(const RnnDescriptor& rnn, std::int64_t offset, Shape shape, Visit visit) {
  for (std::int64_t layer = 0; layer < rnn.layers * rnn.directions; ++layer) {
    for (int id = 0; id < 2 * rnn.gates + 1; ++id) {
      Part part = shape(rnn, layer, id);
      part.offset = offset;
      visit(layer, id, part);
      offset += part.rows * part.columns;
    }
  }
  return offset;
}

std::int64_t weights(const RnnDescriptor& rnn) {
  const auto nothing = [](std::int64_t, int, const Part&) {};
  return walk(rnn, walk(rnn, 0, matrix, nothing), bias, nothing);
}

int answer_part(const RnnDescriptor& rnn, const Part& part, const void* space, ShapeDescriptor* shape, void** address) {
  if (shape == nullptr || address == nullptr) return 0;
  const bool there = part.columns != 0;
  const int rows = static_cast<int>(part.rows);
  const int columns = static_cast<int>(part.columns);
  *shape = {rnn.data_type, 0, {1, there ? rows : 0, there ? columns : 0}, {rows * columns, columns, 1}};
  const auto bytes = static_cast<std::size_t>(part.offset) * dnn_element_size(rnn.data_type);
  *address = there ? static_cast<char*>(const_cast<void*>(space)) + bytes : nullptr;
  return 0;
}

}  // namespace

VRAMWISE_ENTRY int cudnnCreateRNNDescriptor(RnnDescriptor** descriptor) {
  *descriptor = new RnnDescriptor;
  return 0;
}
VRAMWISE_ENTRY int cudnnDestroyRNNDescriptor(RnnDescriptor* descriptor) {
  delete descriptor;
  return 0;
}

VRAMWISE_ENTRY int cudnnSetRNNDescriptor_v8(RnnDescriptor* rnn, int, int cell, int bias_mode, int direction, int,
                                            int data_type, int, int, std::int32_t input, std::int32_t hidden,
                                            std::int32_t projected, std::int32_t layers, void*, std::uint32_t) {
  constexpr int kGates[] = {1, 1, 4, 3};  // ReLU, tanh, LSTM, GRU
  if (cell < 0 || cell > 3) return kBadParameter;
  *rnn = {.gates = kGates[cell],
          .has_input_bias = bias_mode == 1 || bias_mode == 2,
          .has_recurrent_bias = bias_mode == 2 || bias_mode == 3,
          .directions = direction == 0 ? 1 : 2,
          .data_type = data_type,
          .input = input,
          .hidden = hidden,
          .projected = projected == 0 ? hidden : projected,
          .layers = layers};
  return 0;
}

VRAMWISE_ENTRY int cudnnGetRNNWeightSpaceSize(void*, const RnnDescriptor* rnn, std::size_t* bytes) {
  *bytes = static_cast<std::size_t>(weights(*rnn)) * dnn_element_size(rnn->data_type);
  return 0;
}

VRAMWISE_ENTRY int cudnnGetRNNWeightParams(void*, const RnnDescriptor* rnn, std::int32_t layer, std::size_t,
                                           const void* space, std::int32_t id, ShapeDescriptor* matrix_shape,
                                           void** matrix_address, ShapeDescriptor* bias_shape, void** bias_address) {
  Part found_matrix;
  Part found_bias;
  const auto keep = [&](Part& found) {
    return [&found, layer, id](std::int64_t at, int this_id, const Part& part) {
      if (at == layer && this_id == id) found = part;
    };
  };
  walk(*rnn, walk(*rnn, 0, matrix, keep(found_matrix)), bias, keep(found_bias));
  answer_part(*rnn, found_matrix, space, matrix_shape, matrix_address);
  return answer_part(*rnn, found_bias, space, bias_shape, bias_address);
}

VRAMWISE_UNSIZED_TWICE(cudnnGetRNNTempSpaceSizes, std::size_t, 5, 4)
VRAMWISE_UNSIZED(cudnnDropoutGetStatesSize, std::size_t, 1)

VRAMWISE_IGNORED(cudnnSetRNNDataDescriptor)
VRAMWISE_IGNORED(cudnnSetDropoutDescriptor)
VRAMWISE_IGNORED(cudnnRestoreDropoutDescriptor)

VRAMWISE_COMPUTED(cudnnRNNForward)
VRAMWISE_COMPUTED(cudnnRNNBackwardData_v8)
VRAMWISE_COMPUTED(cudnnRNNBackwardWeights_v8)

// cuDNN beside the backend interface: handles, the fixed-function descriptors, batch normalization. CTC loss and the
// old convolution calls take scratch memory whose size NVIDIA does not publish: refused.
#include <cstdint>
#include <vector>

#include "emulator/dnn/descriptors.h"
#include "emulator/listed.h"

using namespace vramwise::emulator;

namespace {

constexpr const char* kLibraries[] = {"libcudnn.so.9", "libcudnn.so.8", nullptr};
constexpr int kNotSupportedByDnn = 3000;

struct DnnHandle {
  void* stream = nullptr;
};

}  // namespace

VRAMWISE_ENTRY int cudnnCreate(DnnHandle** handle) {
  const int code = driver_on_device([](Machine&, int) { return kSuccess; });
  if (code != kSuccess) return 1001;  // CUDNN_STATUS_NOT_INITIALIZED
  *handle = new DnnHandle;
  return 0;
}
VRAMWISE_ENTRY int cudnnDestroy(DnnHandle* handle) {
  delete handle;
  return 0;
}
VRAMWISE_ENTRY int cudnnSetStream(DnnHandle* handle, void* stream) {
  handle->stream = stream;
  thread_state().stream_of_library = stream;
  return 0;
}
VRAMWISE_ENTRY int cudnnGetStream(DnnHandle* handle, void** stream) {
  *stream = handle->stream;
  return 0;
}

VRAMWISE_ENTRY std::size_t cudnnGetVersion() {
  const auto real = reinterpret_cast<std::size_t (*)()>(real_symbol(kLibraries, "cudnnGetVersion"));
  return real != nullptr ? real() : 92000;
}
VRAMWISE_ENTRY std::size_t cudnnGetCudartVersion() {
  const auto real = reinterpret_cast<std::size_t (*)()>(real_symbol(kLibraries, "cudnnGetCudartVersion"));
  return real != nullptr ? real() : 13000;
}
VRAMWISE_ENTRY int cudnnGetProperty(int property, int* value) {
  const auto real = reinterpret_cast<int (*)(int, int*)>(real_symbol(kLibraries, "cudnnGetProperty"));
  return real != nullptr ? real(property, value) : kNotSupportedByDnn;
}
VRAMWISE_ENTRY const char* cudnnGetErrorString(int status) {
  const auto real = reinterpret_cast<const char* (*)(int)>(real_symbol(kLibraries, "cudnnGetErrorString"));
  return real != nullptr ? real(status) : "CUDNN_STATUS";
}
// ---- descriptors
// ---------------------------------------------------------------------------------------------------------------

VRAMWISE_ENTRY int cudnnCreateTensorDescriptor(ShapeDescriptor** descriptor) {
  *descriptor = new ShapeDescriptor;
  return 0;
}
VRAMWISE_ENTRY int cudnnDestroyTensorDescriptor(ShapeDescriptor* descriptor) {
  delete descriptor;
  return 0;
}
VRAMWISE_ENTRY int cudnnSetTensorNdDescriptor(ShapeDescriptor* descriptor, int type, int count, const int* dimensions,
                                              const int* strides) {
  *descriptor = {type, 0, {dimensions, dimensions + count}, {strides, strides + count}};
  return 0;
}
VRAMWISE_ENTRY int cudnnGetTensorNdDescriptor(const ShapeDescriptor* descriptor, int wanted, int* type, int* count,
                                              int* dimensions, int* strides) {
  *type = descriptor->data_type;
  *count = static_cast<int>(descriptor->dimensions.size());
  for (int i = 0; i < wanted && i < *count; ++i) {
    dimensions[i] = descriptor->dimensions[static_cast<std::size_t>(i)];
    strides[i] = descriptor->strides[static_cast<std::size_t>(i)];
  }
  return 0;
}
VRAMWISE_ENTRY int cudnnCreateFilterDescriptor(ShapeDescriptor** descriptor) {
  return cudnnCreateTensorDescriptor(descriptor);
}
VRAMWISE_ENTRY int cudnnDestroyFilterDescriptor(ShapeDescriptor* descriptor) {
  return cudnnDestroyTensorDescriptor(descriptor);
}
VRAMWISE_ENTRY int cudnnSetFilterNdDescriptor(ShapeDescriptor* descriptor, int type, int format, int count,
                                              const int* dimensions) {
  *descriptor = {type, format, {dimensions, dimensions + count}, {}};
  return 0;
}
VRAMWISE_ENTRY int cudnnGetFilterNdDescriptor(const ShapeDescriptor* descriptor, int wanted, int* type, int* format,
                                              int* count, int* dimensions) {
  *type = descriptor->data_type;
  *format = descriptor->format;
  *count = static_cast<int>(descriptor->dimensions.size());
  for (int i = 0; i < wanted && i < *count; ++i) dimensions[i] = descriptor->dimensions[static_cast<std::size_t>(i)];
  return 0;
}

#define VRAMWISE_DESCRIPTOR(kind)                                                  \
  VRAMWISE_ENTRY int cudnnCreate##kind##Descriptor(ShapeDescriptor** descriptor) { \
    return cudnnCreateTensorDescriptor(descriptor);                                \
  }                                                                                \
  VRAMWISE_ENTRY int cudnnDestroy##kind##Descriptor(ShapeDescriptor* descriptor) { \
    return cudnnDestroyTensorDescriptor(descriptor);                               \
  }
VRAMWISE_DESCRIPTOR(Activation)
VRAMWISE_DESCRIPTOR(Convolution)
VRAMWISE_DESCRIPTOR(Pooling)
VRAMWISE_DESCRIPTOR(SpatialTransformer)
VRAMWISE_DESCRIPTOR(Dropout)
VRAMWISE_DESCRIPTOR(RNNData)
VRAMWISE_DESCRIPTOR(CTCLoss)
#undef VRAMWISE_DESCRIPTOR

VRAMWISE_IGNORED(cudnnSetActivationDescriptor)
VRAMWISE_IGNORED(cudnnSetConvolutionGroupCount)
VRAMWISE_IGNORED(cudnnSetConvolutionMathType)
VRAMWISE_IGNORED(cudnnSetConvolutionNdDescriptor)
VRAMWISE_IGNORED(cudnnSetPooling2dDescriptor)
VRAMWISE_IGNORED(cudnnSetSpatialTransformerNdDescriptor)

// ---- work in memory of the caller's
// ------------------------------------------------------------------------------------------

VRAMWISE_COMPUTED(cudnnBatchNormalizationForwardInference)
VRAMWISE_COMPUTED(cudnnBatchNormalizationForwardTrainingEx)
VRAMWISE_COMPUTED(cudnnBatchNormalizationBackwardEx)
VRAMWISE_COMPUTED(cudnnPoolingForward)
VRAMWISE_COMPUTED(cudnnSpatialTfGridGeneratorBackward)
VRAMWISE_COMPUTED(cudnnSpatialTfGridGeneratorForward)
VRAMWISE_COMPUTED(cudnnSpatialTfSamplerBackward)
VRAMWISE_COMPUTED(cudnnSpatialTfSamplerForward)

namespace {
int no_scratch(std::size_t* bytes) {
  assume("cuDNN batch normalization needs no workspace and no reserve space");
  *bytes = 0;
  return 0;
}
}  // namespace

VRAMWISE_ENTRY int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void*, int, int, void*, void*, void*, void*,
                                                                            void*, std::size_t* bytes) {
  return no_scratch(bytes);
}
VRAMWISE_ENTRY int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void*, int, int, void*, void*, void*, void*, void*,
                                                                     void*, void*, std::size_t* bytes) {
  return no_scratch(bytes);
}
VRAMWISE_ENTRY int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void*, int, int, void*, void*,
                                                                        std::size_t* bytes) {
  return no_scratch(bytes);
}

#define VRAMWISE_LISTED(name) VRAMWISE_REFUSED(name, kNotSupportedByDnn)
#include "emulator/dnn/cudnn_refused.def"
#include "emulator/dnn/cudnn_rest.def"
#undef VRAMWISE_LISTED

// The texts: c10/core/impl/alloc_cpu.cpp ("can't allocate memory"), cudaGetErrorString(cudaErrorMemoryAllocation) ("out
// of memory"), cublasGetErrorString in aten/src/ATen/cuda/Exceptions.cpp (CUBLAS_STATUS_ALLOC_FAILED) and its like in
// cuDNN and cuSOLVER, HIP ("hipErrorOutOfMemory"), Level Zero ("UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY").
#include "train/out_of_memory.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <new>
#include <string_view>

#include "base/text.h"

namespace vramwise {
namespace {

bool mentions_exhausted_memory(const std::string& text) {
  constexpr std::array<std::string_view, 7> kTexts = {
      "out of memory",    "can't allocate memory", "cannot allocate memory", "status_alloc_failed",
      "erroroutofmemory", "memoryallocation",      "error_out_of_"};
  const std::string lower = to_lower(text);
  return std::any_of(kTexts.begin(), kTexts.end(),
                     [&](std::string_view known) { return lower.find(known) != std::string::npos; });
}

}  // namespace

bool is_out_of_memory(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const c10::OutOfMemoryError&) {
    return true;
  } catch (const std::bad_alloc&) {
    return true;
  } catch (const c10::Error& error) {
    return mentions_exhausted_memory(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return mentions_exhausted_memory(error.what());
  } catch (...) {
    return false;
  }
}

std::string describe_exception(const std::exception_ptr& failure) {
  std::string text;
  try {
    std::rethrow_exception(failure);
  } catch (const c10::Error& error) {
    text = error.what_without_backtrace();
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
    text = "an exception of unknown type";
  }
  return text.substr(0, text.find('\n'));
}

void release_cached_memory() {
  if (!torch::cuda::is_available()) return;
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::DeviceType::CUDA));
  if (allocator != nullptr && allocator->initialized()) allocator->emptyCache();
}

}  // namespace vramwise

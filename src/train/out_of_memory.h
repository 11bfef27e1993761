// Telling an exhausted memory from every other failure, whichever library reports it.
#pragma once

#include <torch/torch.h>

#include <exception>
#include <string>

namespace vramwise {

/// Whether `failure` says that a device or the host had no memory left: c10::OutOfMemoryError, std::bad_alloc, or the
/// texts of PyTorch's CPU allocator, of the CUDA runtime and of its libraries, which arrive as a plain c10::Error.
bool is_out_of_memory(const std::exception_ptr& failure);

/// The first line of what an exception says, without the stack trace that c10::Error appends.
std::string describe_exception(const std::exception_ptr& failure);

/// Gives cached blocks of all GPUs back to the driver; nothing where there are none.
void release_cached_memory();

}  // namespace vramwise

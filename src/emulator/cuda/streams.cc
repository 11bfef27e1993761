// Streams and events. Work is done, or skipped, in the call that asks for it; events carry the virtual clock. With
// `lag` a stream's work ends later on that clock, and whoever asks before is told that it isn't ready.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "emulator/process.h"

using namespace vramwise::emulator;

namespace {

constexpr int kLeastPriority = 0;
constexpr int kGreatestPriority = -5;

int create_stream(Machine& machine, int device, Stream** stream, unsigned flags, int priority) {
  *stream = machine.create_stream(device, flags, priority);
  return kSuccess;
}

int destroy_stream(Machine& machine, Stream* stream) {
  return machine.destroy_stream(stream) ? kSuccess : kInvalidHandle;
}

/// A call on a stream that changes nothing but must name one.
int on_stream(Machine& machine, int device, void* handle) {
  const Stream* stream = machine.stream(handle, device);
  if (stream == nullptr) return kInvalidHandle;
  return kSuccess;
}

int synchronize(Machine& machine, int device, void* handle) {
  const Stream* stream = machine.stream(handle, device);
  if (stream == nullptr) return kInvalidHandle;
  if (stream->capture) return kCaptureUnsupported;
  machine.wait_until(stream->busy_until_ns);
  return kSuccess;
}

int query(Machine& machine, int device, void* handle) {
  const Stream* stream = machine.stream(handle, device);
  if (stream == nullptr) return kInvalidHandle;
  if (stream->capture) return kCaptureUnsupported;
  return stream->busy_until_ns > machine.now().time_ns ? kNotReady : kSuccess;
}

int record(Machine& machine, int device, Event* event, void* handle) {
  const Stream* stream = machine.stream(handle, device);
  if (stream == nullptr || !machine.is_event(event)) return kInvalidHandle;
  event->recorded = true;
  event->capture = stream->capture;
  event->time_ns = std::max(machine.now().time_ns, stream->busy_until_ns);
  return kSuccess;
}

/// Asking takes time, so that a program which asks again and again gets its answer.
int query_event(Machine& machine, const Event* event) {
  if (!machine.is_event(event)) return kInvalidHandle;
  if (!machine.lags()) return kSuccess;
  machine.advance(Costs::kCallNs);
  return event->time_ns > machine.now().time_ns ? kNotReady : kSuccess;
}

int synchronize_event(Machine& machine, const Event* event) {
  if (!machine.is_event(event)) return kInvalidHandle;
  machine.wait_until(event->time_ns);
  return kSuccess;
}

/// Waiting for an event of a capture makes the stream part of that capture.
int wait_event(Machine& machine, int device, void* handle, const Event* event) {
  Stream* stream = machine.stream(handle, device);
  if (stream == nullptr || !machine.is_event(event)) return kInvalidHandle;
  if (event->capture && !stream->capture) stream->capture = event->capture;
  if (machine.lags()) stream->busy_until_ns = std::max(stream->busy_until_ns, event->time_ns);
  return kSuccess;
}

int elapsed(Machine& machine, float* ms, const Event* start, const Event* end) {
  if (!machine.is_event(start) || !machine.is_event(end) || !start->recorded || !end->recorded) return kInvalidHandle;
  *ms = static_cast<float>(end->time_ns - start->time_ns) / 1e6F;
  return kSuccess;
}

}  // namespace

VRAMWISE_ENTRY int cudaStreamCreateWithPriority(Stream** stream, unsigned flags, int priority) {
  return runtime_on_device(
      [&](Machine& machine, int device) { return create_stream(machine, device, stream, flags, priority); });
}
VRAMWISE_ENTRY int cudaStreamCreateWithFlags(Stream** stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
VRAMWISE_ENTRY int cudaStreamCreate(Stream** stream) { return cudaStreamCreateWithPriority(stream, 0, 0); }

VRAMWISE_ENTRY int cudaStreamDestroy(Stream* stream) {
  return runtime([&](Machine& machine) { return destroy_stream(machine, stream); });
}

VRAMWISE_ENTRY int cudaStreamQuery(void* stream) {
  return runtime_on_device([&](Machine& machine, int device) { return query(machine, device, stream); });
}
VRAMWISE_ENTRY int cudaStreamSynchronize(void* stream) {
  return runtime_on_device([&](Machine& machine, int device) { return synchronize(machine, device, stream); });
}

VRAMWISE_ENTRY int cudaStreamWaitEvent(void* stream, Event* event, unsigned) {
  return runtime_on_device([&](Machine& machine, int device) { return wait_event(machine, device, stream, event); });
}

VRAMWISE_ENTRY int cudaStreamGetPriority(void* handle, int* priority) {
  return runtime_on_device([&](Machine& machine, int device) {
    const Stream* stream = machine.stream(handle, device);
    if (stream == nullptr) return kInvalidHandle;
    *priority = stream->priority;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaStreamGetFlags(void* handle, unsigned* flags) {
  return runtime_on_device([&](Machine& machine, int device) {
    const Stream* stream = machine.stream(handle, device);
    if (stream == nullptr) return kInvalidHandle;
    *flags = stream->flags;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaStreamGetDevice(void* handle, int* result) {
  return runtime_on_device([&](Machine& machine, int device) {
    const Stream* stream = machine.stream(handle, device);
    if (stream == nullptr) return kInvalidHandle;
    *result = stream->device;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaStreamAttachMemAsync(void*, void*, std::size_t, unsigned) { return kSuccess; }
VRAMWISE_ENTRY int cudaStreamSetAttribute(void*, int, const void*) { return kSuccess; }
VRAMWISE_ENTRY int cudaCtxResetPersistingL2Cache() { return kSuccess; }

VRAMWISE_ENTRY int cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least != nullptr) *least = kLeastPriority;
  if (greatest != nullptr) *greatest = kGreatestPriority;
  return kSuccess;
}

// The functions of the program that a stream calls when it gets there: it is there now. They run outside the lock, as
// they may wait for others.
VRAMWISE_ENTRY int cudaLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
  const int code = runtime_on_device([&](Machine& machine, int device) { return on_stream(machine, device, stream); });
  if (code == kSuccess) function(data);
  return code;
}

VRAMWISE_ENTRY int cudaStreamAddCallback(void* stream, void (*callback)(void*, int, void*), void* data, unsigned) {
  const int code = runtime_on_device([&](Machine& machine, int device) { return on_stream(machine, device, stream); });
  if (code == kSuccess) callback(stream, kSuccess, data);
  return code;
}

VRAMWISE_ENTRY int cudaEventCreateWithFlags(Event** event, unsigned) {
  return runtime_on_device([&](Machine& machine, int device) {
    *event = machine.create_event(device);
    return kSuccess;
  });
}
VRAMWISE_ENTRY int cudaEventCreate(Event** event) { return cudaEventCreateWithFlags(event, 0); }

VRAMWISE_ENTRY int cudaEventDestroy(Event* event) {
  return runtime([&](Machine& machine) { return machine.destroy_event(event) ? kSuccess : kInvalidHandle; });
}

VRAMWISE_ENTRY int cudaEventRecordWithFlags(Event* event, void* stream, unsigned) {
  return runtime_on_device([&](Machine& machine, int device) { return record(machine, device, event, stream); });
}
VRAMWISE_ENTRY int cudaEventRecord(Event* event, void* stream) { return cudaEventRecordWithFlags(event, stream, 0); }

VRAMWISE_ENTRY int cudaEventQuery(Event* event) {
  return runtime([&](Machine& machine) { return query_event(machine, event); });
}
VRAMWISE_ENTRY int cudaEventSynchronize(Event* event) {
  return runtime([&](Machine& machine) { return synchronize_event(machine, event); });
}

VRAMWISE_ENTRY int cudaEventElapsedTime(float* ms, Event* start, Event* end) {
  return runtime([&](Machine& machine) { return elapsed(machine, ms, start, end); });
}
VRAMWISE_ENTRY int cudaEventElapsedTime_v2(float* ms, Event* start, Event* end) {
  return cudaEventElapsedTime(ms, start, end);
}

// ---- driver
// -------------------------------------------------------------------------------------------------------------------

VRAMWISE_ENTRY int cuStreamCreateWithPriority(Stream** stream, unsigned flags, int priority) {
  return driver_on_device(
      [&](Machine& machine, int device) { return create_stream(machine, device, stream, flags, priority); });
}
VRAMWISE_ENTRY int cuStreamCreate(Stream** stream, unsigned flags) {
  return cuStreamCreateWithPriority(stream, flags, 0);
}
VRAMWISE_ENTRY int cuStreamDestroy_v2(Stream* stream) {
  return driver([&](Machine& machine) { return destroy_stream(machine, stream); });
}
VRAMWISE_ENTRY int cuStreamSynchronize(void* stream) {
  return driver_on_device([&](Machine& machine, int device) { return synchronize(machine, device, stream); });
}
VRAMWISE_ENTRY int cuStreamQuery(void* stream) {
  return driver_on_device([&](Machine& machine, int device) { return query(machine, device, stream); });
}
VRAMWISE_ENTRY int cuStreamWaitEvent(void* stream, Event* event, unsigned) {
  return driver_on_device([&](Machine& machine, int device) { return wait_event(machine, device, stream, event); });
}
VRAMWISE_ENTRY int cuStreamGetCtx(void* handle, Context** context) {
  return driver_on_device([&](Machine& machine, int device) {
    const Stream* stream = machine.stream(handle, device);
    if (stream == nullptr) return kInvalidHandle;
    *context = machine.context(stream->device);
    return kSuccess;
  });
}
VRAMWISE_ENTRY int cuEventCreate(Event** event, unsigned) {
  return driver_on_device([&](Machine& machine, int device) {
    *event = machine.create_event(device);
    return kSuccess;
  });
}
VRAMWISE_ENTRY int cuEventDestroy_v2(Event* event) {
  return driver([&](Machine& machine) { return machine.destroy_event(event) ? kSuccess : kInvalidHandle; });
}
VRAMWISE_ENTRY int cuEventRecord(Event* event, void* stream) {
  return driver_on_device([&](Machine& machine, int device) { return record(machine, device, event, stream); });
}
VRAMWISE_ENTRY int cuEventQuery(Event* event) {
  return driver([&](Machine& machine) { return query_event(machine, event); });
}
VRAMWISE_ENTRY int cuEventSynchronize(Event* event) {
  return driver([&](Machine& machine) { return synchronize_event(machine, event); });
}
VRAMWISE_ENTRY int cuEventElapsedTime_v2(float* ms, Event* start, Event* end) {
  return driver([&](Machine& machine) { return elapsed(machine, ms, start, end); });
}
VRAMWISE_ENTRY int cuEventElapsedTime(float* ms, Event* start, Event* end) {
  return cuEventElapsedTime_v2(ms, start, end);
}

// Stream capture and graphs. What is captured is skipped anyway, so a graph is a number of nodes; what counts is that
// capture behaves as PyTorch and others expect it to. Device memory that a driver takes for an instantiated graph is
// not documented, and not modelled.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "emulator/process.h"

using namespace vramwise::emulator;

namespace {

constexpr const char* kAssumption = "an instantiated CUDA graph takes no device memory of its own";

int begin_capture(Machine& machine, int device, void* handle, Graph* into) {
  Stream* stream = machine.stream(handle, device);
  if (stream == nullptr) return kInvalidHandle;
  if (stream->capture || reinterpret_cast<std::uintptr_t>(handle) <= 1) return kCaptureUnsupported;
  auto capture = std::make_shared<Capture>();
  capture->id = machine.next_capture_id();
  capture->borrowed = into != nullptr;
  capture->graph = into != nullptr ? into : new Graph;
  stream->capture = std::move(capture);
  stream->capture_origin = true;
  return kSuccess;
}

int end_capture(Machine& machine, int device, void* handle, Graph** graph) {
  Stream* origin = machine.stream(handle, device);
  if (origin == nullptr) return kInvalidHandle;
  if (!origin->capture || !origin->capture_origin) return kCaptureUnmatched;
  const auto capture = origin->capture;
  machine.each_stream([&](Stream& stream) {
    if (stream.capture != capture) return;
    stream.capture.reset();
    stream.capture_origin = false;
    stream.last_node = nullptr;
  });
  if (graph != nullptr) *graph = capture->graph;
  return kSuccess;
}

struct CaptureInfo {
  int* status;
  unsigned long long* id;
  Graph** graph;
  GraphNode*** dependencies;
  std::size_t* dependency_count;
};

int capture_info(Machine& machine, int device, void* handle, const CaptureInfo& out) {
  Stream* stream = machine.stream(handle, device);
  if (stream == nullptr) return kInvalidHandle;
  *out.status = stream->capture ? 1 : 0;  // cudaStreamCaptureStatusActive, None
  if (!stream->capture) return kSuccess;
  if (out.id != nullptr) *out.id = stream->capture->id;
  if (out.graph != nullptr) *out.graph = stream->capture->graph;
  if (out.dependencies != nullptr) *out.dependencies = &stream->last_node;
  if (out.dependency_count != nullptr) *out.dependency_count = stream->last_node == nullptr ? 0 : 1;
  return kSuccess;
}

void destroy_graph(Graph* graph) {
  for (std::size_t i = 0; i < graph->release_functions.size(); ++i)
    graph->release_functions[i](graph->release_arguments[i]);
  delete graph;
}

/// cudaUserObject_t: something of the program's that lives as long as the graphs that hold it.
struct UserObject {
  void* pointer = nullptr;
  void (*destroy)(void*) = nullptr;
  long references = 0;
};

void release_user_object(void* argument) {
  auto* object = static_cast<UserObject*>(argument);
  if (--object->references > 0) return;
  object->destroy(object->pointer);
  delete object;
}

}  // namespace

VRAMWISE_ENTRY int cudaStreamBeginCapture(void* stream, int) {
  return runtime_on_device(
      [&](Machine& machine, int device) { return begin_capture(machine, device, stream, nullptr); });
}

VRAMWISE_ENTRY int cudaStreamBeginCaptureToGraph(void* stream, Graph* graph, const void*, const void*, std::size_t,
                                                 int) {
  return runtime_on_device([&](Machine& machine, int device) { return begin_capture(machine, device, stream, graph); });
}

VRAMWISE_ENTRY int cudaStreamEndCapture(void* stream, Graph** graph) {
  return runtime_on_device([&](Machine& machine, int device) { return end_capture(machine, device, stream, graph); });
}

VRAMWISE_ENTRY int cudaStreamIsCapturing(void* stream, int* status) {
  return runtime_on_device([&](Machine& machine, int device) {
    return capture_info(machine, device, stream, {status, nullptr, nullptr, nullptr, nullptr});
  });
}

// CUDA 13; 12 calls the same with _v3, and _v2 without the edges' data.
VRAMWISE_ENTRY int cudaStreamGetCaptureInfo(void* stream, int* status, unsigned long long* id, Graph** graph,
                                            GraphNode*** dependencies, const void** edges, std::size_t* count) {
  if (edges != nullptr) *edges = nullptr;
  return runtime_on_device([&](Machine& machine, int device) {
    return capture_info(machine, device, stream, {status, id, graph, dependencies, count});
  });
}

VRAMWISE_ENTRY int cudaStreamGetCaptureInfo_v3(void* stream, int* status, unsigned long long* id, Graph** graph,
                                               GraphNode*** dependencies, const void** edges, std::size_t* count) {
  return cudaStreamGetCaptureInfo(stream, status, id, graph, dependencies, edges, count);
}

VRAMWISE_ENTRY int cudaStreamGetCaptureInfo_v2(void* stream, int* status, unsigned long long* id, Graph** graph,
                                               GraphNode*** dependencies, std::size_t* count) {
  return cudaStreamGetCaptureInfo(stream, status, id, graph, dependencies, nullptr, count);
}

VRAMWISE_ENTRY int cudaStreamUpdateCaptureDependencies() { return kSuccess; }
VRAMWISE_ENTRY int cudaStreamUpdateCaptureDependencies_v2() { return kSuccess; }

VRAMWISE_ENTRY int cudaThreadExchangeStreamCaptureMode(int* mode) {
  static thread_local int current = 0;
  std::swap(current, *mode);
  return kSuccess;
}

VRAMWISE_ENTRY int cudaGraphCreate(Graph** graph, unsigned) {
  *graph = new Graph;
  return kSuccess;
}

VRAMWISE_ENTRY int cudaGraphDestroy(Graph* graph) {
  destroy_graph(graph);
  return kSuccess;
}

VRAMWISE_ENTRY int cudaGraphGetNodes(Graph* graph, GraphNode** nodes, std::size_t* count) {
  return runtime([&](Machine&) {
    const std::size_t room = *count;
    *count = graph->nodes.size();
    for (std::size_t i = 0; nodes != nullptr && i < room && i < graph->nodes.size(); ++i)
      nodes[i] = graph->nodes[i].get();
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaGraphNodeGetDependencies(GraphNode*, void*, void*, std::size_t* count) {
  if (count != nullptr) *count = 0;
  return kSuccess;
}

VRAMWISE_ENTRY int cudaGraphNodeGetType(GraphNode* node, int* type) {
  *type = node->type;
  return kSuccess;
}

VRAMWISE_ENTRY int cudaGraphAddNode(GraphNode** node, Graph* graph, const void*, const void*, std::size_t, void*) {
  return runtime([&](Machine&) {
    *node = add_node(*graph, kEmptyNode);
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaGraphConditionalHandleCreate() {
  return refuse("cudaGraphConditionalHandleCreate", kNotSupported);
}
VRAMWISE_ENTRY int cudaGraphAddDependencies() { return kSuccess; }
VRAMWISE_ENTRY int cudaGraphDebugDotPrint() { return refuse("cudaGraphDebugDotPrint", kNotSupported); }

VRAMWISE_ENTRY int cudaGraphInstantiateWithFlags(GraphExec** executable, Graph* graph, unsigned long long) {
  assume(kAssumption);
  *executable = new GraphExec{.nodes = graph->nodes.size()};
  return kSuccess;
}

VRAMWISE_ENTRY int cudaGraphInstantiate(GraphExec** executable, Graph* graph, unsigned long long flags) {
  return cudaGraphInstantiateWithFlags(executable, graph, flags);
}

VRAMWISE_ENTRY int cudaGraphExecDestroy(GraphExec* executable) {
  delete executable;
  return kSuccess;
}

VRAMWISE_ENTRY int cudaGraphUpload(GraphExec*, void*) { return kSuccess; }

VRAMWISE_ENTRY int cudaGraphLaunch(GraphExec* executable, void* stream) {
  return runtime_on_device([&](Machine& machine, int device) {
    const auto nodes = static_cast<std::int64_t>(executable->nodes);
    machine.work(stream, device, Costs::kKernelNs * std::max<std::int64_t>(nodes, 1));
    ++machine.recorder().computed["cudaGraphLaunch"];
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaUserObjectCreate(UserObject** object, void* pointer, void (*destroy)(void*), unsigned references,
                                        unsigned) {
  *object = new UserObject{.pointer = pointer, .destroy = destroy, .references = static_cast<long>(references)};
  return kSuccess;
}

VRAMWISE_ENTRY int cudaUserObjectRelease(UserObject* object, unsigned count) {
  for (unsigned i = 0; i < count; ++i) release_user_object(object);
  return kSuccess;
}

VRAMWISE_ENTRY int cudaGraphRetainUserObject(Graph* graph, UserObject* object, unsigned count, unsigned flags) {
  constexpr unsigned kMove = 1;  // cudaGraphUserObjectMove: the caller's references become the graph's
  if ((flags & kMove) == 0) object->references += count;
  for (unsigned i = 0; i < count; ++i) {
    graph->release_functions.push_back(&release_user_object);
    graph->release_arguments.push_back(object);
  }
  return kSuccess;
}

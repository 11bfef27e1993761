// What CUDA's opaque handles point at.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace vramwise::emulator {

struct Graph;

struct GraphNode {
  Graph* graph = nullptr;
  int type = 0;  ///< cudaGraphNodeType
};

/// A CUDA graph: its nodes matter only by their number, and by what must be released with it.
struct Graph {
  std::vector<std::unique_ptr<GraphNode>> nodes;
  std::vector<void (*)(void*)> release_functions;
  std::vector<void*> release_arguments;
};

/// cudaGraphNodeType
inline constexpr int kKernelNode = 0;
inline constexpr int kEmptyNode = 5;

inline GraphNode* add_node(Graph& graph, int type) {
  graph.nodes.push_back(std::make_unique<GraphNode>(GraphNode{.graph = &graph, .type = type}));
  return graph.nodes.back().get();
}

struct GraphExec {
  std::size_t nodes = 0;
};

/// One stream capture (cudaStreamBeginCapture … EndCapture); several streams may have joined it.
struct Capture {
  std::uint64_t id = 0;
  Graph* graph = nullptr;
  bool borrowed = false;  ///< cudaStreamBeginCaptureToGraph: the graph belongs to the program
};

struct Stream {
  int device = 0;
  unsigned flags = 0;
  int priority = 0;
  std::shared_ptr<Capture> capture;
  bool capture_origin = false;
  std::int64_t busy_until_ns = 0;  ///< when the work that it was given ends; with lag only
  GraphNode* last_node = nullptr;
};

struct Event {
  int device = 0;
  bool recorded = false;
  std::int64_t time_ns = 0;  ///< when the stream gets there
  std::shared_ptr<Capture> capture;
};

/// cudaMemPool_t: a pool of stream-ordered memory. Freed memory is returned at once; the release threshold is kept and
/// reported.
struct MemoryPool {
  int device = 0;
  std::uint64_t release_threshold = 0;
  Bytes used;
  Bytes used_peak;
  std::map<void*, Bytes> blocks;  ///< what was allocated from it
};

/// cuMemCreate: physical memory, not yet at an address.
struct PhysicalMemory {
  int device = 0;
  Bytes size;
  bool on_host = false;
  int references = 1;  ///< its creation, and each mapping
};

}  // namespace vramwise::emulator

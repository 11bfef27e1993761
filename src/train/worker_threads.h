// WorkerThreads: the same job for several replicas at once, each time on the same threads.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace vramwise {

/// PyTorch keeps a pool of OpenMP threads for each thread that computes, so threads that come and go would be costly. A
/// single worker is the calling thread itself.
class WorkerThreads {
 public:
  explicit WorkerThreads(std::size_t count);
  ~WorkerThreads();
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;

  /// Runs job(0) … job(count - 1), each on its own thread, and waits for all. Entry i: what job(i) threw, or null.
  std::vector<std::exception_ptr> run(const std::function<void(std::size_t)>& job);

 private:
  void work(std::size_t index);

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(std::size_t)>* job_ = nullptr;
  std::size_t round_ = 0;    ///< counts the calls of run()
  std::size_t working_ = 0;  ///< threads that have not finished this round
  bool ending_ = false;
  std::vector<std::exception_ptr> thrown_;
  std::vector<std::thread> threads_;
};

}  // namespace vramwise

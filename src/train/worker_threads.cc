// One mutex and one condition for everything: a round lasts as long as a training step, so there is nothing to gain
// from more.
#include "train/worker_threads.h"

namespace vramwise {
namespace {

std::exception_ptr run_one(const std::function<void(std::size_t)>& job, std::size_t index) {
  try {
    job(index);
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace

WorkerThreads::WorkerThreads(std::size_t count) : thrown_(count) {
  if (count < 2) return;
  threads_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([this, i] { work(i); });
}

WorkerThreads::~WorkerThreads() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::vector<std::exception_ptr> WorkerThreads::run(const std::function<void(std::size_t)>& job) {
  if (threads_.empty()) return {run_one(job, 0)};
  std::unique_lock lock(mutex_);
  job_ = &job;
  working_ = threads_.size();
  ++round_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return working_ == 0; });
  return std::exchange(thrown_, std::vector<std::exception_ptr>(threads_.size()));
}

void WorkerThreads::work(std::size_t index) {
  std::size_t done = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ending_ || round_ != done; });
    if (ending_) return;
    done = round_;
    const auto& job = *job_;
    lock.unlock();
    std::exception_ptr thrown = run_one(job, index);
    lock.lock();
    thrown_[index] = std::move(thrown);
    if (--working_ == 0) changed_.notify_all();
  }
}

}  // namespace vramwise

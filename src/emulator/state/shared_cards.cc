// A row belongs to a process id and the moment when that process began (proc(5), stat), as ids come back. The lock is a
// robust one: when its holder is killed, the next one gets it, and at worst a single row is a moment old.
#include "emulator/state/shared_cards.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace vramwise::emulator {
namespace {

struct ProcessId {
  std::int64_t id = 0;     ///< 0: nobody
  std::int64_t began = 0;  ///< in clock ticks since the machine started
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

/// When a process began; 0: it is gone, or a zombie, whose memory is.
std::int64_t beginning_of(std::int64_t process) {
  const int file = ::open(("/proc/" + std::to_string(process) + "/stat").c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[1024] = {};
  const ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  // "PID (NAME) STATE PARENT …", and the name may hold spaces and parentheses; the beginning is the 22nd field.
  const char* field = length > 0 ? std::strrchr(text, ')') : nullptr;
  if (field == nullptr || field[1] == '\0' || field[2] == 'Z' || field[2] == 'X') return 0;
  for (int number = 2; field != nullptr && number < 22; ++number) field = std::strchr(field + 1, ' ');
  std::int64_t began = 0;
  if (field != nullptr) std::from_chars(field + 1, text + length, began);
  return began;
}

bool is_there(const ProcessId& process) { return process.id != 0 && beginning_of(process.id) == process.began; }

ProcessId self() {
  const auto id = static_cast<std::int64_t>(getpid());
  return {.id = id, .began = beginning_of(id)};
}

}  // namespace

struct SharedCards::Table {
  pthread_mutex_t mutex = {};
  std::int64_t rows = 0;  ///< that were ever taken
  std::int64_t peak[kMostCards] = {};
  struct Row {
    ProcessId owner;
    std::int64_t held[kMostCards] = {};
  } row[kMostProcesses];

  void begin() {
    pthread_mutexattr_t shared;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &shared);
    pthread_mutexattr_destroy(&shared);
  }

  /// The row that this process has from now on; -1: there is none left. An exec leaves a process its id and its row.
  int take_row() {
    const ProcessId owner = self();
    int mine = -1;
    for (int i = 0; i < rows && mine < 0; ++i) {
      if (row[i].owner == owner || !is_there(row[i].owner)) mine = i;
    }
    if (mine < 0 && rows < kMostProcesses) mine = static_cast<int>(rows++);
    if (mine < 0) return -1;
    row[mine] = {.owner = owner, .held = {}};
    return mine;
  }
};

namespace {

/// Holds the table's lock while it lives.
class Locked {
 public:
  explicit Locked(pthread_mutex_t& mutex) : mutex_(mutex) {
    if (pthread_mutex_lock(&mutex_) == EOWNERDEAD) pthread_mutex_consistent(&mutex_);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  ~Locked() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t& mutex_;
};

}  // namespace

std::unique_ptr<SharedCards> SharedCards::open(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return nullptr;
  flock(file, LOCK_EX);
  struct stat status = {};
  const bool is_new = fstat(file, &status) == 0 && status.st_size < static_cast<off_t>(sizeof(Table));
  const bool sized = !is_new || posix_fallocate(file, 0, sizeof(Table)) == 0;  // a full disk would be a SIGBUS later
  void* memory = sized ? mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
  std::unique_ptr<SharedCards> cards;
  if (memory != MAP_FAILED) {
    auto* table = static_cast<Table*>(memory);
    if (is_new) table->begin();
    const Locked lock(table->mutex);
    const int row = table->take_row();
    if (row >= 0) cards.reset(new SharedCards(table, row));
  }
  if (memory != MAP_FAILED && cards == nullptr) munmap(memory, sizeof(Table));
  flock(file, LOCK_UN);  // closing it is not enough, as the mapping keeps it open
  close(file);
  return cards;
}

SharedCards::~SharedCards() {
  {
    const Locked lock(table_->mutex);
    table_->row[row_] = {};
  }
  munmap(table_, sizeof(Table));
}

Bytes SharedCards::others_locked(int card) const {
  std::int64_t sum = 0;
  for (int i = 0; i < table_->rows; ++i) {
    const Table::Row& row = table_->row[i];
    if (i != row_ && row.held[card] > 0 && is_there(row.owner)) sum += row.held[card];
  }
  return Bytes(sum);
}

bool SharedCards::hold(int card, Bytes live, Bytes most) {
  if (card < 0 || card >= kMostCards) return live <= most;
  const Locked lock(table_->mutex);
  const Bytes together = others_locked(card) + live;
  std::int64_t& held = table_->row[row_].held[card];
  if (live.count() > held && together > most) return false;
  held = live.count();
  table_->peak[card] = std::max(table_->peak[card], together.count());
  return true;
}

Bytes SharedCards::others(int card) {
  if (card < 0 || card >= kMostCards) return Bytes(0);
  const Locked lock(table_->mutex);
  return others_locked(card);
}

Bytes SharedCards::peak(int card) const {
  return card < 0 || card >= kMostCards ? Bytes(0) : Bytes(table_->peak[card]);
}

}  // namespace vramwise::emulator

// We start a guard, and the guard starts the program (sandbox/guard.h). Signals that reach us are passed on to the
// program while it lives.
#include "dryrun/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "dryrun/sandbox/guard.h"

namespace vramwise {
namespace {

std::atomic<pid_t> child_to_signal{0};

/// A Ctrl-C reaches the program from the terminal itself; what another process sends reaches only us.
void pass_on(int signal, siginfo_t* info, void* /*context*/) {
  const pid_t child = child_to_signal.load();
  const bool from_terminal = signal == SIGINT && info->si_code == SI_KERNEL;
  if (child > 0 && !from_terminal) kill(child, signal);
}

/// Passes interrupts on while it lives.
class SignalForwarding {
 public:
  explicit SignalForwarding(pid_t child) {
    child_to_signal = child;
    struct sigaction action = {};
    action.sa_sigaction = pass_on;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGTERM, &action, &old_terminate_);
    sigaction(SIGINT, &action, &old_interrupt_);
  }
  SignalForwarding(const SignalForwarding&) = delete;
  SignalForwarding& operator=(const SignalForwarding&) = delete;
  ~SignalForwarding() {
    sigaction(SIGTERM, &old_terminate_, nullptr);
    sigaction(SIGINT, &old_interrupt_, nullptr);
    child_to_signal = 0;
  }

 private:
  struct sigaction old_terminate_ = {};
  struct sigaction old_interrupt_ = {};
};

struct Pipe {
  int read_end = -1;
  int write_end = -1;

  bool open() {
    int ends[2] = {};
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read_end = ends[0];
    write_end = ends[1];
    return true;
  }
  void close_read() { shut(read_end); }
  void close_write() { shut(write_end); }
  ~Pipe() {
    close_read();
    close_write();
  }

 private:
  static void shut(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
};

/// Dismisses the guard, and waits until it is gone.
class Guard {
 public:
  Guard(pid_t process, int life_line) : process_(process), life_line_(life_line) {}
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() {
    close(life_line_);
    while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

 private:
  pid_t process_;
  int life_line_;
};

bool read_all(int from, void* into, std::size_t bytes) {
  for (std::size_t got = 0; got < bytes;) {
    const ssize_t count = read(from, static_cast<char*>(into) + got, bytes - got);
    if (count == 0 || (count < 0 && errno != EINTR)) return false;
    got += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  return true;
}

std::string read_text(int from, int bytes) {
  std::string text(static_cast<std::size_t>(bytes), '\0');
  return read_all(from, text.data(), text.size()) ? text : std::string();
}

/// Listens to the guard until it has nothing more to say.
Result<ProgramEnd> listen(int from) {
  std::optional<SignalForwarding> forwarding;
  std::optional<ProgramEnd> end;
  std::optional<Error> refusal;
  GuardRecord record;
  while (read_all(from, &record, sizeof record)) {
    std::string text = read_text(from, record.text_bytes);
    std::string remedy = read_text(from, record.remedy_bytes);
    switch (record.kind) {
      case GuardRecord::Kind::kStarted:
        forwarding.emplace(record.value);
        break;
      case GuardRecord::Kind::kRefused:
        refusal = Error{static_cast<ErrorCode>(record.value), std::move(text), std::move(remedy)};
        break;
      case GuardRecord::Kind::kEnded:
        end = ProgramEnd{
            .exit_code = record.value, .ended_because = std::move(text), .host_peak = Bytes(record.host_peak_bytes)};
        break;
    }
  }
  if (refusal) return *refusal;
  if (!end) return world_error("the process that watches over the program was killed");
  return *end;
}

}  // namespace

Result<ProgramEnd> run_program(const std::vector<std::string>& command, const ProgramOptions& options) {
  VRAMWISE_CHECK(!command.empty());
  Pipe life_line, report;
  if (!life_line.open() || !report.open())
    return world_error(std::string("cannot make a pipe: ") + std::strerror(errno));
  std::fflush(nullptr);
  const pid_t guard = fork();
  if (guard == 0) {
    life_line.close_write();
    report.close_read();
    guard_program(command, options, life_line.read_end, report.write_end);
  }
  if (guard < 0) return world_error(std::string("cannot start a process: ") + std::strerror(errno));
  const auto guarded = std::make_shared<Guard>(guard, std::exchange(life_line.write_end, -1));
  report.close_write();
  Result<ProgramEnd> end = listen(report.read_end);
  if (end.ok()) end.value().guard = guarded;
  return end;
}

}  // namespace vramwise

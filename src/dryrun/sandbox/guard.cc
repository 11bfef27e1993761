// The guard is a subreaper: whatever the program starts, and however far it detaches itself, becomes the guard's child
// when its own parent ends (prctl(2), PR_SET_CHILD_SUBREAPER).
#include "dryrun/sandbox/guard.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <optional>

#include "base/units.h"
#include "dryrun/sandbox/run_folder.h"

namespace vramwise {
namespace {

constexpr int kPollMs = 100;
constexpr int kPatienceMs = 3000;  // for what the program left running

void send(int to_us, GuardRecord record, const std::string& text = {}, const std::string& remedy = {}) {
  record.text_bytes = static_cast<int>(text.size());
  record.remedy_bytes = static_cast<int>(remedy.size());
  std::string bytes(reinterpret_cast<const char*>(&record), sizeof record);
  bytes += text + remedy;
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t count = write(to_us, bytes.data() + sent, bytes.size() - sent);
    if (count < 0 && errno != EINTR) return;
    sent += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
}

/// The parent of each process of this machine.
std::map<pid_t, pid_t> parents() {
  std::map<pid_t, pid_t> result;
  DIR* folder = opendir("/proc");
  if (folder == nullptr) return result;
  while (const dirent* entry = readdir(folder)) {
    const auto process = static_cast<pid_t>(parse_integer(entry->d_name).value_or(0));
    if (process <= 0) continue;
    char text[512] = {};
    const int file = open(("/proc/" + std::string(entry->d_name) + "/stat").c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    const ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    // "PID (NAME) STATE PARENT …", and the name may hold spaces and parentheses.
    const char* after_name = length > 0 ? std::strrchr(text, ')') : nullptr;
    const char* end = text + std::max<ssize_t>(length, 0);
    if (after_name != nullptr && end - after_name > 4) std::from_chars(after_name + 4, end, result[process]);
  }
  closedir(folder);
  return result;
}

std::vector<int> descendants() {
  std::vector<int> found;
  const std::map<pid_t, pid_t> parent_of = parents();
  const pid_t self = getpid();
  for (const auto& [process, direct] : parent_of) {
    pid_t above = direct;
    for (int depth = 0; above > 1 && above != self && depth < 1000; ++depth) {
      const auto found = parent_of.find(above);
      above = found == parent_of.end() ? 0 : found->second;
    }
    if (above == self) found.push_back(process);
  }
  return found;
}

void signal_descendants(int signal) {
  for (const int process : descendants()) kill(process, signal);
}

/// Waits up to `patience_ms` for all children to be gone.
bool all_gone(int patience_ms) {
  for (int waited = 0;; waited += 10) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (errno == ECHILD) return true;
    if (waited >= patience_ms) return false;
    poll(nullptr, 0, 10);
  }
}

void end_descendants(int patience_ms) {
  if (all_gone(patience_ms)) return;
  signal_descendants(SIGTERM);
  if (all_gone(patience_ms > 0 ? 1000 : 0)) return;
  for (int tries = 0; tries < 100 && !all_gone(100); ++tries) signal_descendants(SIGKILL);
}

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) merged.push_back(text);
  }
  for (const auto& [name, value] : added) merged.push_back(fmt::format("{}={}", name, value));
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

/// Programs go through containers that are ordered by addresses, such as autocast's cache of weights: with memory
/// always at the same place, so is their order. Containers may refuse it; the run is as good without.
void fix_addresses() {
  const int now = personality(0xffffffff);
  if (now >= 0) personality(static_cast<unsigned long>(now) | ADDR_NO_RANDOMIZE);
}

[[noreturn]] void become_program(const std::vector<std::string>& command, const ProgramOptions& options, int to_us) {
  if (options.prepare) {
    const Status prepared = options.prepare();
    if (!prepared.ok()) {
      const Error& error = prepared.error();
      send(to_us, {.kind = GuardRecord::Kind::kRefused, .value = static_cast<int>(error.code)}, error.what,
           error.remedy);
      _exit(127);
    }
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // after `prepare`: a change of rights clears it
  fix_addresses();
  if (options.output_to_stderr) dup2(STDERR_FILENO, STDOUT_FILENO);
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment = merged_environment(options.environment);
  execvpe(command[0].c_str(), pointers(arguments).data(), pointers(environment).data());
  send(to_us, {.kind = GuardRecord::Kind::kRefused, .value = static_cast<int>(ErrorCode::kWorld)},
       "cannot start '" + command[0] + "': " + std::strerror(errno));
  _exit(127);
}

/// For the program, signals are as we found them.
struct SignalState {
  static constexpr int kIgnored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
  struct sigaction old[std::size(kIgnored)] = {};

  void ignore() {
    struct sigaction action = {};
    action.sa_handler = SIG_IGN;
    for (std::size_t i = 0; i < std::size(kIgnored); ++i) sigaction(kIgnored[i], &action, &old[i]);
  }
  void restore() const {
    for (std::size_t i = 0; i < std::size(kIgnored); ++i) sigaction(kIgnored[i], &old[i], nullptr);
  }
};

[[noreturn]] void clean_and_end(const ProgramOptions& options) {
  if (!options.removed_with_guard.empty()) remove_tree(options.removed_with_guard);
  _exit(0);
}

/// The program's status when it has ended; nothing when we were killed before.
std::optional<int> watch(pid_t program, const ProgramOptions& options, int life_line, std::string& reason,
                         std::int64_t& host_peak_bytes) {
  const int ended = static_cast<int>(syscall(SYS_pidfd_open, program, 0));  // Linux 5.3; else we look now and then
  for (;;) {
    int status = 0;
    pid_t gone = 0;
    rusage usage = {};
    while ((gone = wait4(-1, &status, WNOHANG, &usage)) > 0) {
      host_peak_bytes = std::max<std::int64_t>(host_peak_bytes, usage.ru_maxrss * std::int64_t{1024});
      if (gone == program) return status;
    }
    pollfd lines[2] = {{.fd = life_line, .events = 0, .revents = 0}, {.fd = ended, .events = POLLIN, .revents = 0}};
    poll(lines, 2, ended < 0 ? kPollMs / 10 : kPollMs);
    if (lines[0].revents != 0) return std::nullopt;
    if (reason.empty() && options.reason_to_end) {
      reason = options.reason_to_end(descendants);
      if (!reason.empty()) signal_descendants(SIGKILL);
    }
  }
}

}  // namespace

void guard_program(const std::vector<std::string>& command, const ProgramOptions& options, int life_line, int to_us) {
  SignalState signals;
  signals.ignore();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t program = fork();
  if (program == 0) {
    close(life_line);
    signals.restore();
    become_program(command, options, to_us);
  }
  if (program < 0) {
    send(to_us, {.kind = GuardRecord::Kind::kRefused, .value = static_cast<int>(ErrorCode::kWorld)},
         std::string("cannot start a process: ") + std::strerror(errno));
    _exit(1);
  }
  send(to_us, {.kind = GuardRecord::Kind::kStarted, .value = program});
  std::string reason;
  std::int64_t host_peak_bytes = 0;
  const std::optional<int> status = watch(program, options, life_line, reason, host_peak_bytes);
  if (!status) {
    signal_descendants(SIGKILL);
    end_descendants(0);
    clean_and_end(options);
  }
  end_descendants(kPatienceMs);
  const int exit_code = WIFSIGNALED(*status) ? 128 + WTERMSIG(*status) : WEXITSTATUS(*status);
  send(to_us, {.kind = GuardRecord::Kind::kEnded, .value = exit_code, .host_peak_bytes = host_peak_bytes}, reason);
  close(to_us);
  pollfd line = {.fd = life_line, .events = 0, .revents = 0};
  while (poll(&line, 1, -1) < 0 && errno == EINTR) {
  }
  clean_and_end(options);
}

}  // namespace vramwise

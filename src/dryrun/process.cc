// posix_spawn and a wait. One child at a time: signals that reach us are passed on to it while it lives.
#include "dryrun/process.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace vramwise {
namespace {

std::atomic<pid_t> child_to_signal{0};

void pass_on(int signal) {
  if (const pid_t child = child_to_signal.load(); child > 0) kill(child, signal);
}

/// Passes interrupts on while it lives.
class SignalForwarding {
 public:
  explicit SignalForwarding(pid_t child) {
    child_to_signal = child;
    struct sigaction action = {};
    action.sa_handler = pass_on;
    sigaction(SIGTERM, &action, &old_terminate_);
    action.sa_handler = SIG_IGN;  // the terminal sends it to the child too
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

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) merged.push_back(text);
  }
  for (const auto& [name, value] : added) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Result<int> run_program(const std::vector<std::string>& command, const ProgramOptions& options) {
  VRAMWISE_CHECK(!command.empty());
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment = merged_environment(options.environment);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (options.output_to_stderr) posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t child = 0;
  const int error = posix_spawnp(&child, command[0].c_str(), &actions, nullptr, pointers(arguments).data(),
                                 pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return world_error("cannot start '" + command[0] + "': " + std::strerror(error));
  const SignalForwarding forwarding(child);
  return wait_for(child);
}

Result<TemporaryFolder> TemporaryFolder::make(const std::string& prefix) {
  std::error_code error;
  const auto base = std::filesystem::temp_directory_path(error);
  std::string path = (error ? std::filesystem::path("/tmp") : base).string() + "/" + prefix + ".XXXXXX";
  if (mkdtemp(path.data()) == nullptr)
    return world_error("cannot make the folder '" + path + "'", std::strerror(errno));
  return TemporaryFolder(path);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace vramwise

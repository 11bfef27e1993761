#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <sstream>
#include <thread>

#include "device/fake_system.h"
#include "dryrun/host_memory_watch.h"
#include "dryrun/process.h"
#include "dryrun/sandbox/mounts.h"
#include "dryrun/sandbox/overlay.h"
#include "dryrun/sandbox/run_folder.h"
#include "io/files.h"

namespace vramwise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> points(const std::vector<Mount>& mounts) {
  std::vector<std::string> result;
  result.reserve(mounts.size());
  for (const Mount& mount : mounts) result.push_back(mount.point);
  return result;
}

TEST(Mounts, NamesAreUnescapedAndParentsComeFirst) {
  const auto mounts = visible_mounts(
      "3 1 8:2 / /home/a\\040b rw - ext4 /dev/sdb rw\n"
      "1 0 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda rw\n"
      "2 1 0:5 / /proc rw - proc proc rw\n"
      "nonsense\n");
  EXPECT_THAT(points(mounts), ElementsAre("/", "/proc", "/home/a b"));
  EXPECT_EQ(mounts[0].type, "ext4");
}

TEST(Mounts, WhatLiesUnderAnotherIsNotSeen) {
  const auto mounts = visible_mounts(
      "1 0 8:1 / / rw - ext4 a rw\n"
      "2 1 0:5 / /data rw - ext4 b rw\n"
      "3 2 0:6 / /data/inner rw - ext4 c rw\n"
      "4 2 0:7 / /data rw - tmpfs d rw\n"  // on top of 2, and of 3 with it
      "5 1 0:8 / /srv/deep rw - ext4 e rw\n"
      "6 1 0:9 / /srv rw - tmpfs f rw\n");  // above 5
  EXPECT_THAT(points(mounts), ElementsAre("/", "/srv", "/data"));
  EXPECT_EQ(mounts[2].type, "tmpfs");
}

TEST(Mounts, Roles) {
  EXPECT_EQ(role_of({"/", "ext4"}), MountRole::kFiles);
  EXPECT_EQ(role_of({"/dev/shm", "tmpfs"}), MountRole::kSharedMemory);
  EXPECT_EQ(role_of({"/dev/pts", "devpts"}), MountRole::kSystem);
  EXPECT_EQ(role_of({"/sys/fs/cgroup", "cgroup2"}), MountRole::kSystem);
  EXPECT_EQ(role_of({"/run/user/1000", "tmpfs"}), MountRole::kRuntime);
  EXPECT_EQ(role_of({"/runs", "ext4"}), MountRole::kFiles);
  EXPECT_EQ(role_of({"/home/me/drive", "fuse.sshfs"}), MountRole::kFiles);
}

TEST(Program, ExitCodesSignalsAndEnvironment) {
  EXPECT_EQ(run_program({"sh", "-c", "exit 7"}, {})->exit_code, 7);
  EXPECT_EQ(run_program({"sh", "-c", "kill -9 $$"}, {})->exit_code, 128 + SIGKILL);
  setenv("VRAMWISE_TEST_OLD", "old", 1);
  const ProgramOptions options{.environment = {{"VRAMWISE_TEST_OLD", "new"}, {"VRAMWISE_TEST_NEW", "1"}}};
  EXPECT_EQ(run_program({"sh", "-c", "test \"$VRAMWISE_TEST_OLD$VRAMWISE_TEST_NEW\" = new1"}, options)->exit_code, 0);
  const auto missing = run_program({"/no/such/program"}, {});
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().what, HasSubstr("/no/such/program"));
}

TEST(Program, MemoryLiesAtFixedAddresses) {
  // Where the machine allows that at all.
  const char* command = "setarch -R true 2> /dev/null || exit 0; grep -q '^0004' /proc/self/personality";
  EXPECT_EQ(run_program({"sh", "-c", command}, {})->exit_code, 0);
}

TEST(Program, ARefusedPreparationIsTheError) {
  const auto end = run_program({"true"}, {.prepare = [] { return Status(usage_error("what", "remedy")); }});
  ASSERT_FALSE(end.ok());
  EXPECT_EQ(end.error().code, ErrorCode::kUsage);
  EXPECT_EQ(end.error().what, "what");
  EXPECT_EQ(end.error().remedy, "remedy");
}

TEST(Program, IsEndedForAReason) {
  const auto end = run_program({"sleep", "60"}, {.reason_to_end = [](const auto& processes) {
                                 return processes().size() == 1 ? std::string("too long") : std::string();
                               }});
  ASSERT_TRUE(end.ok());
  EXPECT_EQ(end->exit_code, 128 + SIGKILL);
  EXPECT_EQ(end->ended_because, "too long");
}

TEST(Program, HostMemoryIsMeasured) {
  const auto end = run_program({"head", "-c", "1", "/dev/null"}, {});
  ASSERT_TRUE(end.ok());
  EXPECT_GT(end->host_peak, Bytes::kib(100));
  EXPECT_LT(end->host_peak, Bytes::mib(100));
}

TEST(HostMemoryWatch, EndsWhoHoldsTheMemory) {
  const auto system = std::make_shared<FakeSystem>();
  const auto watch = [&](std::int64_t available_mib, std::int64_t held_mib) {
    system->files["/proc/meminfo"] =
        fmt::format("MemTotal: {} kB\nMemAvailable: {} kB\n", 32 << 20, available_mib << 10);
    HostMemoryWatch watch(system, [&](int) { return Bytes::mib(held_mib); });
    return watch([] { return std::vector<int>{1, 2}; });
  };
  EXPECT_EQ(watch(8000, 12000), "");
  EXPECT_EQ(watch(500, 100), "") << "others have it";
  EXPECT_THAT(watch(500, 12000), HasSubstr("23.44 GiB of the 32.00 GiB"));
  EXPECT_EQ(host_memory_floor(Bytes::gib(1)), Bytes::mib(256));
  EXPECT_EQ(host_memory_floor(Bytes::gib(100)), Bytes::gib(2));
}

TEST(Program, WhatItLeftRunningIsEnded) {
  const auto folder = RunFolder::make();
  ASSERT_TRUE(folder.ok());
  const std::string pid_file = folder->path() + "/pid";
  const auto end = run_program({"sh", "-c", "setsid sleep 60 & echo $! > " + pid_file}, {});
  ASSERT_TRUE(end.ok());
  const auto pid = read_file(pid_file);
  ASSERT_TRUE(pid.ok());
  EXPECT_NE(kill(std::stoi(*pid), 0), 0);
}

bool within_seconds(int seconds, const std::function<bool()>& holds) {
  for (int waited_ms = 0; waited_ms < seconds * 1000; waited_ms += 20) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return holds();
}

TEST(Program, AKillOfOursTakesAllAlong) {
  auto folder = RunFolder::make();
  ASSERT_TRUE(folder.ok());
  const std::string pid_file = folder->path() + "/pid", inner = folder->path() + "/inner";
  ASSERT_TRUE(make_folders(inner).ok());
  const pid_t us = fork();
  if (us == 0) {
    (void)run_program({"sh", "-c", "setsid sleep 60 & echo $! $$ > $FILE.part; mv $FILE.part $FILE; sleep 60"},
                      {.environment = {{"FILE", pid_file}}, .removed_with_guard = inner});
    _exit(0);
  }
  ASSERT_TRUE(within_seconds(20, [&] { return path_exists(pid_file); }));
  std::istringstream pids(read_file(pid_file).value());
  pid_t first = 0, second = 0;
  pids >> first >> second;
  kill(us, SIGKILL);
  waitpid(us, nullptr, 0);
  EXPECT_TRUE(within_seconds(20, [&] { return kill(first, 0) != 0 && kill(second, 0) != 0 && !path_exists(inner); }));
}

TEST(RunFolder, OfAKilledRunIsRemovedByTheNext) {
  const auto base = RunFolder::make();
  ASSERT_TRUE(base.ok());
  const char* old = std::getenv("TMPDIR");
  const std::string before = old == nullptr ? "" : old;
  setenv("TMPDIR", base->scratch().c_str(), 1);
  const std::string left = base->scratch() + "/vramwise-dryrun.abcdef";
  ASSERT_TRUE(make_folders(left + "/scratch/0").ok());
  {
    const auto living = RunFolder::make();
    ASSERT_TRUE(living.ok());
    EXPECT_TRUE(path_exists(left)) << "made in this minute";
    const auto next = RunFolder::make(RunFolder::Age{0});
    ASSERT_TRUE(next.ok());
    EXPECT_FALSE(path_exists(left));
    EXPECT_TRUE(path_exists(living->path()));
  }
  before.empty() ? unsetenv("TMPDIR") : setenv("TMPDIR", before.c_str(), 1);
}

TEST(RunFolder, GoesWithItsContents) {
  std::string path;
  {
    const auto folder = RunFolder::make();
    ASSERT_TRUE(folder.ok());
    path = folder->path();
    ASSERT_TRUE(write_file_atomically(join_path(folder->ledgers(), "file"), "x").ok());
    ASSERT_TRUE(make_folders(path + "/scratch/closed/inner").ok());
    ASSERT_EQ(chmod((path + "/scratch/closed").c_str(), 0), 0);
    EXPECT_TRUE(path_exists(path));
  }
  EXPECT_FALSE(path_exists(path));
}

/// Skipped where this machine has no overlays, as in most containers.
class Overlay : public testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(RunFolder::make().value());
    const auto end = run({"true"});
    if (!end.ok()) GTEST_SKIP() << end.error().what;
  }

  Result<ProgramEnd> run(const std::vector<std::string>& command, bool as_user = false) {
    const std::string scratch = folder_->scratch() + "/" + std::to_string(runs_++);
    EXPECT_TRUE(make_folders(scratch).ok());
    return run_program(command, {.prepare = [&, as_user]() -> Status {
                         if (as_user && (chown(scratch.c_str(), 65534, 65534) != 0 || setgid(65534) != 0 ||
                                         setuid(65534) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0))
                           return world_error("cannot become another user");
                         return enter_throwaway_overlay({.scratch = scratch, .real_folders = {folder_->ledgers()}});
                       }});
  }
  int shell(const std::string& text, bool as_user = false) {
    const auto end = run({"sh", "-c", "set -e; " + text}, as_user);
    EXPECT_TRUE(end.ok()) << end.error().what;
    return end.ok() ? end->exit_code : -1;
  }

  std::optional<RunFolder> folder_;
  int runs_ = 0;
};

TEST_F(Overlay, NothingWrittenLasts) {
  const std::string file = folder_->path() + "/kept";
  ASSERT_TRUE(write_file_atomically(file, "old").ok());
  const std::string command =
      "echo new > FILE; test $(cat FILE) = new; rm FILE; echo x > DIR/more; mkdir DIR/folder; "
      "echo x > /tmp/vramwise-overlay-test; echo x > /dev/shm/vramwise-overlay-test";
  std::string text = command;
  for (std::size_t at = 0; (at = text.find("FILE")) != std::string::npos;) text.replace(at, 4, file);
  for (std::size_t at = 0; (at = text.find("DIR")) != std::string::npos;) text.replace(at, 3, folder_->path());
  EXPECT_EQ(shell(text), 0);
  EXPECT_EQ(read_file(file).value(), "old");
  for (const std::string& path :
       {folder_->path() + "/more", folder_->path() + "/folder", std::string("/tmp/vramwise-overlay-test"),
        std::string("/dev/shm/vramwise-overlay-test")})
    EXPECT_FALSE(path_exists(path)) << path;
}

TEST_F(Overlay, RealFoldersStayReal) {
  EXPECT_EQ(shell("echo real > " + folder_->ledgers() + "/file"), 0);
  EXPECT_EQ(read_file(folder_->ledgers() + "/file").value(), "real\n");
}

TEST_F(Overlay, TheCurrentFolderIsTheSame) {
  const std::string here = std::filesystem::current_path();
  EXPECT_EQ(shell("test $(pwd -P) = " + here + "; echo x > vramwise-overlay-test; test -f " + here +
                  "/vramwise-overlay-test"),
            0);
  EXPECT_FALSE(path_exists("vramwise-overlay-test"));
}

TEST_F(Overlay, WorksWithoutPrivileges) {
  if (geteuid() != 0) GTEST_SKIP() << "the other tests show it";
  ASSERT_EQ(chmod(folder_->path().c_str(), 0755), 0);
  ASSERT_EQ(chmod(folder_->scratch().c_str(), 0755), 0);
  const auto probe = run({"true"}, true);
  if (!probe.ok()) GTEST_SKIP() << probe.error().what;
  EXPECT_EQ(shell("test $(id -u) = 65534; echo x > /tmp/vramwise-overlay-user; test -f /tmp/vramwise-overlay-user; "
                  "echo x > /dev/shm/vramwise-overlay-user",
                  true),
            0);
  EXPECT_FALSE(path_exists("/tmp/vramwise-overlay-user"));
  EXPECT_FALSE(path_exists("/dev/shm/vramwise-overlay-user"));
}

}  // namespace
}  // namespace vramwise

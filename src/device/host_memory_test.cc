#include "device/host_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/fake_system.h"

namespace vramwise {
namespace {

FakeSystem host_of_64_gib() {
  FakeSystem system;
  system.set_host(Bytes::gib(64), Bytes::gib(50));
  return system;
}

TEST(HostMemory, ReadsMeminfo) {
  FakeSystem system;
  system.files["/proc/meminfo"] =
      "MemTotal:       65536000 kB\nMemFree:         1024 kB\nMemAvailable:   32768000 kB\nSwapTotal:             0 "
      "kB\n"
      "SwapFree:              0 kB\nHugePages_Total:       0\n";
  const HostMemory host = probe_host_memory(system);
  EXPECT_EQ(host.total, Bytes::kib(65536000));
  EXPECT_EQ(host.available, Bytes::kib(32768000));
  EXPECT_EQ(host.swap_total, Bytes(0));
  EXPECT_FALSE(host.shm_total);
  EXPECT_FALSE(host.limit());
  EXPECT_EQ(host.budget(), Bytes::kib(32768000));
}

TEST(HostMemory, NamesTheProcessor) {
  FakeSystem system;
  EXPECT_FALSE(probe_host_memory(system).cpu_name);
  system.files["/proc/cpuinfo"] = "processor\t: 0\nmodel name\t: AMD EPYC 7763\nflags : fpu\nmodel name\t: other\n";
  EXPECT_EQ(probe_host_memory(system).cpu_name, "AMD EPYC 7763");
}

TEST(HostMemory, WithoutProcNothingIsKnown) {
  FakeSystem system;
  const HostMemory host = probe_host_memory(system);
  EXPECT_FALSE(host.total);
  EXPECT_FALSE(host.available);
  EXPECT_FALSE(host.budget());
}

TEST(HostMemory, BrokenMeminfoIsAbsentNotZero) {
  FakeSystem system;
  system.files["/proc/meminfo"] = "MemTotal:\nMemAvailable: lots\nno colon\n\nMemFree: -5 kB\n";
  const HostMemory host = probe_host_memory(system);
  EXPECT_FALSE(host.total);
  EXPECT_FALSE(host.available);
}

TEST(HostMemory, CgroupV2OwnLimitCreditsInactiveFiles) {
  FakeSystem system = host_of_64_gib();
  system.files["/proc/self/cgroup"] = "0::/user.slice/job\n";
  system.files["/proc/self/mountinfo"] =
      "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
  system.files["/sys/fs/cgroup/user.slice/job/memory.max"] = "8589934592\n";
  system.files["/sys/fs/cgroup/user.slice/job/memory.high"] = "max\n";
  system.files["/sys/fs/cgroup/user.slice/job/memory.current"] = "3221225472\n";
  system.files["/sys/fs/cgroup/user.slice/job/memory.stat"] =
      "anon 1073741824\nfile 2147483648\ninactive_file 1073741824\n";
  const HostMemory host = probe_host_memory(system);
  ASSERT_EQ(host.limits.size(), 1U);
  EXPECT_EQ(host.limits[0].path, "/sys/fs/cgroup/user.slice/job");
  EXPECT_EQ(host.limit(), Bytes::gib(8));
  EXPECT_EQ(host.budget(), Bytes::gib(8) - Bytes::gib(3) + Bytes::gib(1));
}

TEST(HostMemory, CgroupV2ParentIsTighter) {
  FakeSystem system = host_of_64_gib();
  system.files["/proc/self/cgroup"] = "0::/a/b\n";
  system.files["/sys/fs/cgroup/a/b/memory.max"] = "max\n";
  system.files["/sys/fs/cgroup/a/memory.max"] = "17179869184\n";
  system.files["/sys/fs/cgroup/a/memory.high"] = "4294967296\n";
  system.files["/sys/fs/cgroup/a/memory.current"] = "1073741824\n";
  const HostMemory host = probe_host_memory(system);
  EXPECT_EQ(host.limit(), Bytes::gib(4));
  EXPECT_EQ(host.budget(), Bytes::gib(3));
}

TEST(HostMemory, CgroupV2InItsOwnNamespace) {
  FakeSystem system = host_of_64_gib();
  system.files["/proc/self/cgroup"] = "0::/\n";
  system.files["/sys/fs/cgroup/memory.max"] = "2147483648\n";
  system.files["/sys/fs/cgroup/memory.current"] = "2362232012\n";
  const HostMemory host = probe_host_memory(system);
  EXPECT_EQ(host.limit(), Bytes::gib(2));
  EXPECT_EQ(host.budget(), Bytes(0)) << "more in use than allowed: nothing is left, never a negative budget";
}

TEST(HostMemory, CgroupV1InsideDockerMountsTheGroupItself) {
  FakeSystem system = host_of_64_gib();
  system.files["/proc/self/cgroup"] = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n";
  system.files["/proc/self/mountinfo"] =
      "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n"
      "36 31 0:33 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n";
  system.files["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "6442450944\n";
  system.files["/sys/fs/cgroup/memory/memory.usage_in_bytes"] = "2147483648\n";
  system.files["/sys/fs/cgroup/memory/memory.stat"] =
      "inactive_file 1\ntotal_inactive_file 1073741824\nhierarchical_memory_limit 5368709120\n";
  const HostMemory host = probe_host_memory(system);
  EXPECT_EQ(host.limit(), Bytes::gib(5)) << "a parent above the mount allows less";
  EXPECT_EQ(host.budget(), Bytes::gib(4));
}

TEST(HostMemory, AGroupWhoseNameOnlyBeginsLikeTheMountedOne) {
  FakeSystem system = host_of_64_gib();
  system.files["/proc/self/cgroup"] = "0::/ab\n";
  system.files["/proc/self/mountinfo"] = "29 23 0:26 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  system.files["/sys/fs/cgroupb/memory.max"] = "1073741824\n";
  EXPECT_FALSE(probe_host_memory(system).limit());
}

TEST(HostMemory, CgroupV1WithoutALimit) {
  FakeSystem system = host_of_64_gib();
  system.files["/proc/self/cgroup"] = "4:memory:/\n";
  system.files["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n";
  system.files["/sys/fs/cgroup/memory/memory.stat"] = "hierarchical_memory_limit 9223372036854771712\n";
  const HostMemory host = probe_host_memory(system);
  EXPECT_TRUE(host.limits.empty());
  EXPECT_EQ(host.budget(), Bytes::gib(50));
}

TEST(HostMemory, AHostThatIsFullerThanTheLimit) {
  FakeSystem system;
  system.set_host(Bytes::gib(64), Bytes::gib(1));
  system.files["/proc/self/cgroup"] = "0::/\n";
  system.files["/sys/fs/cgroup/memory.max"] = "8589934592\n";
  system.files["/sys/fs/cgroup/memory.current"] = "0\n";
  EXPECT_EQ(probe_host_memory(system).budget(), Bytes::gib(1));
}

TEST(HostMemory, AGroupOutsideTheNamespaceLeavesTheMountedRoot) {
  FakeSystem system = host_of_64_gib();
  system.files["/proc/self/cgroup"] = "0::/../../other\n";
  system.files["/sys/fs/cgroup/memory.max"] = "1073741824\n";
  EXPECT_EQ(probe_host_memory(system).limit(), Bytes::gib(1));
}

TEST(HostMemory, SharedMemoryFolder) {
  FakeSystem system = host_of_64_gib();
  system.disks["/dev/shm"] = {Bytes::mib(64), Bytes::mib(60)};
  const HostMemory host = probe_host_memory(system);
  EXPECT_EQ(host.shm_total, Bytes::mib(64));
  EXPECT_EQ(host.shm_free, Bytes::mib(60));
}

}  // namespace
}  // namespace vramwise

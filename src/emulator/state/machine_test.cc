#include "emulator/state/machine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "emulator/state/ledger_json.h"

namespace vramwise::emulator {
namespace {

MachineSpec two_cards() {
  return parse_machine(R"({"cards": [
    {"name": "Large", "capability": "9.0", "total_bytes": 80000000000, "context_bytes": 500000000},
    {"name": "Small", "capability": "8.6", "total_bytes": 10000000000, "context_bytes": 300000000}]})")
      .value();
}

TEST(Machine, ShowsTheVisibleCardsInTheirOrder) {
  const Machine machine(two_cards(), "1,0");
  ASSERT_EQ(machine.device_count(), 2);
  EXPECT_EQ(machine.card(0).name, "Small");
  EXPECT_EQ(machine.physical_index(0), 1);
  EXPECT_EQ(Machine(two_cards(), "").device_count(), 0);
}

TEST(Machine, AContextIsPaidOnce) {
  Machine machine(two_cards(), nullptr);
  EXPECT_FALSE(machine.has_context(1));
  EXPECT_TRUE(machine.open_context(1));
  EXPECT_TRUE(machine.open_context(1));
  EXPECT_EQ(machine.memory().ledger(1).live(), Bytes(300'000'000));
  EXPECT_EQ(machine.memory().ledger(0).live(), Bytes(0));
}

TEST(Machine, StreamsAndEventsAreKnownUntilTheyAreDestroyed) {
  Machine machine(two_cards(), nullptr);
  Stream* stream = machine.create_stream(1, 0, -1);
  EXPECT_EQ(machine.stream(stream, 0), stream);
  EXPECT_EQ(machine.stream(nullptr, 1)->device, 1);
  EXPECT_TRUE(machine.destroy_stream(stream));
  EXPECT_EQ(machine.stream(stream, 0), nullptr);
  EXPECT_FALSE(machine.destroy_stream(stream));
  Event* event = machine.create_event(0);
  EXPECT_TRUE(machine.is_event(event));
  EXPECT_TRUE(machine.destroy_event(event));
  EXPECT_FALSE(machine.is_event(event));
}

TEST(Machine, WithoutLagWorkIsDoneAtOnce) {
  Machine machine(two_cards(), nullptr);
  machine.work(nullptr, 0, 7'000);
  EXPECT_EQ(machine.now().time_ns, 7'000);
  EXPECT_EQ(machine.stream(nullptr, 0)->busy_until_ns, 0);
}

TEST(Machine, WithLagACardFallsBehindUntilItsQueueIsFull) {
  MachineSpec spec = two_cards();
  spec.lag = true;
  Machine machine(spec, nullptr);
  Stream* stream = machine.create_stream(0, 0, 0);
  machine.count_launch(stream, 0);
  EXPECT_EQ(machine.now().time_ns, Costs::kLaunchNs);
  EXPECT_EQ(stream->busy_until_ns, Costs::kLaunchNs + Costs::kKernelNs);
  for (int i = 0; i < 10'000; ++i) machine.count_launch(stream, 0);
  EXPECT_EQ(stream->busy_until_ns - machine.now().time_ns, Costs::kLongestQueueNs);
  machine.wait_for_device(1);
  EXPECT_LT(machine.now().time_ns, stream->busy_until_ns);
  machine.wait_for_device(0);
  EXPECT_EQ(machine.now().time_ns, stream->busy_until_ns);
  EXPECT_TRUE(machine.destroy_stream(stream));
}

TEST(Machine, ACommunicatorsMemoryIsTheCards) {
  Machine machine(two_cards(), nullptr);
  EXPECT_TRUE(machine.take_for_communicator(1, Bytes::mib(100)));
  EXPECT_FALSE(machine.take_for_communicator(1, Bytes::gib(10)));
  machine.give_back_of_communicator(1, Bytes::mib(100));
  EXPECT_EQ(machine.memory().ledger(1).live(), Bytes(0));
  EXPECT_EQ(machine.communicator_peak(1), Bytes::mib(100));
}

TEST(Machine, TheLedgerNamesWhatWasTakenAndWhatWasNotModelled) {
  Machine machine(two_cards(), "1");
  ASSERT_TRUE(machine.open_context(0));
  ASSERT_NE(machine.memory().allocate(0, Bytes::mib(10), machine.next_moment()), nullptr);
  ASSERT_EQ(machine.memory().allocate(0, Bytes::gib(20), machine.next_moment()), nullptr);
  machine.recorder().unmodelled["someCall"] = 2;
  const Json json = ledger_json(machine, 42);
  const Json& device = json["devices"][0];
  EXPECT_EQ(device["name"], "Small");
  EXPECT_EQ(device["physical_index"], 1);
  EXPECT_EQ(device["peak_bytes"], 300'000'000 + Bytes::mib(10).count());
  EXPECT_EQ(device["out_of_memory"][0]["requested_bytes"], Bytes::gib(20).count());
  EXPECT_EQ(json["unmodelled"]["someCall"], 2);
}

TEST(Machine, FilesAppearWhole) {
  const std::string path = testing::TempDir() + "/ledger." + std::to_string(getpid());
  ASSERT_TRUE(write_atomically(path, "first").ok());
  ASSERT_TRUE(write_atomically(path, "second").ok());
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), "second");
  std::remove(path.c_str());
  EXPECT_FALSE(write_atomically("/no/such/folder/file", "x").ok());
}

}  // namespace
}  // namespace vramwise::emulator

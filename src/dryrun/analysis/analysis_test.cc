#include <gmock/gmock.h>

#include "base/json.h"
#include "base/pickle.h"
#include "dryrun/analysis/history.h"
#include "dryrun/analysis/owners.h"
#include "dryrun/analysis/peak.h"

namespace vramwise {
namespace {

using testing::ElementsAre;

/// A snapshot whose events are made one by one; times count from 1 in steps of 1.
class Snapshot {
 public:
  std::int64_t allocate(std::int64_t address, std::int64_t bytes, const Json& frames = Json::array()) {
    return add({{"action", "alloc"}, {"addr", address}, {"size", bytes}, {"frames", frames}});
  }
  std::int64_t release(std::int64_t address, std::int64_t bytes) {
    add({{"action", "free_requested"}, {"addr", address}, {"size", bytes}});
    return add({{"action", "free_completed"}, {"addr", address}, {"size", bytes}});
  }
  std::int64_t now() const { return time_; }

  MemoryHistory read(const Json& segments = Json::array()) const {
    const Json json = {{"device_traces", Json::array({events_})}, {"segments", segments}};
    const auto data = parse_plain_json(json.dump(), "snapshot");
    EXPECT_TRUE(data.ok());
    auto history = read_memory_history(*data);
    EXPECT_TRUE(history.ok());
    return std::move(history).value();
  }

 private:
  std::int64_t add(Json event) {
    event["time_us"] = ++time_;
    events_.push_back(std::move(event));
    return time_;
  }

  Json events_ = Json::array();
  std::int64_t time_ = 0;
};

Json frame(const char* file, int line, const char* name = "f") {
  return {{"filename", file}, {"line", line}, {"name", name}};
}

std::vector<std::string> owner_names(const std::vector<OwnedBlock>& owned) {
  std::vector<std::string> names;
  names.reserve(owned.size());
  for (const OwnedBlock& block : owned) names.push_back(to_string(block.owner));
  return names;
}

TEST(History, PairsAllocationsWithTheirReleases) {
  Snapshot snapshot;
  snapshot.allocate(4096, 100);
  snapshot.release(4096, 100);
  snapshot.allocate(4096, 1000);
  const MemoryHistory history = snapshot.read();
  const auto& blocks = history.devices.at(0).blocks;
  ASSERT_EQ(blocks.size(), 2U);
  EXPECT_EQ(blocks[0].bytes, 512);
  EXPECT_EQ(blocks[0].end_us, 2);
  EXPECT_EQ(blocks[1].bytes, 1024);
  EXPECT_EQ(blocks[1].end_us, HistoryBlock::kForever);
}

TEST(History, MemoryOlderThanTheHistoryIsThere) {
  Snapshot snapshot;
  snapshot.allocate(8192, 512);
  snapshot.release(4096, 512);  // its allocation was dropped
  const MemoryHistory history = snapshot.read(
      {{{"device", 0},
        {"blocks",
         {{{"address", 1 << 20}, {"size", 2048}, {"state", "active_allocated"}, {"frames", Json::array()}},
          {{"address", 2 << 20}, {"size", 4096}, {"state", "inactive"}}}}}});
  const ObservedRun run;
  const DeviceHistory& device = history.devices.at(0);
  ASSERT_EQ(device.blocks.size(), 3U);
  const auto owned = find_owners(device, 0, history, run, {});
  const DeviceWay way = follow_device(device, owned, history, run);
  EXPECT_EQ(way.peak.allocated, Bytes(512 + 512 + 2048));
  EXPECT_FALSE(way.peak.history_is_whole);
}

TEST(History, PlacesAreThoseOfTheProgram) {
  Snapshot snapshot;
  snapshot.allocate(
      4096, 1,
      {frame("??", 0), frame("/src/ATen/native/Linear.cpp", 9), frame("/env/site-packages/torch/nn/functional.py", 1),
       frame("/env/site-packages/peft/lora.py", 2, "forward"), frame("/me/train.py", 3)});
  snapshot.allocate(8192, 1, Json::array({frame("/env/site-packages/torch/utils/checkpoint.py", 1)}));
  const MemoryHistory history = snapshot.read();
  const auto place = [&](std::size_t i) { return history.places.at(history.devices[0].blocks[i].place); };
  EXPECT_EQ(place(0).line, "peft/lora.py:2");
  EXPECT_EQ(place(0).function, "forward");
  EXPECT_EQ(place(0).user_line, "train.py:3");
  EXPECT_EQ(place(1).line, "");
  EXPECT_TRUE(place(1).recomputes);
}

TEST(History, WhatAModuleTakesBelowDataParallelismIsItsOwn) {
  const char* ddp = "/x/torch/nn/parallel/distributed.py";
  const char* fsdp = "/x/torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py";
  const auto communicates = [](const Json& frames) {
    Snapshot snapshot;
    snapshot.allocate(4096, 512, frames);
    const MemoryHistory history = snapshot.read();
    return history.places.at(history.devices.at(0).blocks.at(0).place).communicates;
  };
  EXPECT_TRUE(communicates({frame(ddp, 800, "__init__"), frame("/u/train.py", 9)}));
  EXPECT_TRUE(communicates({frame(fsdp, 300), frame("/x/torch/nn/modules/module.py", 1), frame("/u/train.py", 9)}));
  EXPECT_FALSE(communicates({frame("/x/torch/nn/modules/linear.py", 5), frame("/x/torch/nn/modules/module.py", 1),
                             frame(ddp, 900, "forward"), frame("/u/train.py", 9)}));
  EXPECT_FALSE(communicates({frame("/x/torch/nn/functional.py", 5), frame("/u/model.py", 3), frame(ddp, 900)}));
}

TEST(History, RefusesAnotherForm) {
  const auto data = parse_plain_json(R"({"segments": []})", "snapshot");
  ASSERT_TRUE(data.ok());
  EXPECT_FALSE(read_memory_history(*data).ok());
  EXPECT_FALSE(read_observed_run(Json::object(), 0).ok());
}

TEST(History, AThreadsCardsHaveItsPhases) {
  const Json json = {
      {"modules", {"a"}},
      {"tensors", Json::array()},
      {"stretches", {{"forward", 0, 1, 9}}},
      {"calls", {1, 0}},
      {"threads", {{{"devices", {1, 2}}, {"stretches", {{"backward", 4, 2, 8}}}, {"calls", Json::array()}}}}};
  EXPECT_EQ(read_observed_run(json, 0)->stretch_at(5)->name, "forward");
  EXPECT_EQ(read_observed_run(json, 0)->module_at(5), 0);
  EXPECT_EQ(read_observed_run(json, 2)->stretch_at(5)->name, "backward");
  EXPECT_EQ(read_observed_run(json, 2)->module_at(5), -1);
}

/// One step of training: what each block was for shows in when it came and went.
class TrainingStep : public testing::Test {
 protected:
  void SetUp() override {
    s_.allocate(0x1000, 10 * 512);  // weight
    begin("load", 0);
    begin("forward", s_.now());
    s_.allocate(0x9000, 512);  // batch
    const auto called = s_.now();
    s_.allocate(0x2000, 6 * 512);  // activation
    s_.allocate(0x3000, 512);      // temporary
    s_.release(0x3000, 512);
    s_.allocate(0x4000, 8519680);  // workspace
    run_.calls = {{.time_us = called + 1, .module = 0}, {.time_us = s_.now(), .module = -1}};
    run_.modules = {"layers.3.mlp"};
    begin("backward", s_.now());
    s_.allocate(0x5000, 10 * 512);  // gradient
    s_.allocate(0x6000, 3 * 512);   // gradient of an activation
    s_.release(0x6000, 3 * 512);
    s_.release(0x2000, 6 * 512);
    s_.release(0x9000, 512);
    begin("optimizer step", s_.now());
    s_.allocate(0x7000, 20 * 512);  // states
    end();
    run_.tensors = {
        {.device = 0, .address = 0x1000, .bytes = 5120, .kind = "weights", .name = "w", .seen_us = 3},
        {.device = 0, .address = 0x2000, .bytes = 512, .kind = "gradients", .name = "later", .seen_us = 1 << 20},
        {.device = 1, .address = 0x5000, .bytes = 512, .kind = "weights", .name = "other", .seen_us = 12}};
  }

  void begin(const char* name, std::int64_t at) {
    if (!run_.stretches.empty()) run_.stretches.back().end_us = at;
    run_.stretches.push_back({.name = name, .step = 0, .begin_us = at + 1, .end_us = 0});
    if (at == 0) run_.stretches.back().begin_us = 0;
  }
  void end() { run_.stretches.back().end_us = s_.now(); }

  Snapshot s_;
  ObservedRun run_;
};

TEST_F(TrainingStep, Owners) {
  const MemoryHistory history = s_.read();
  const auto owned = find_owners(history.devices[0], 0, history, run_, {Bytes(8519680)});
  EXPECT_THAT(owner_names(owned), ElementsAre("weights", "inputs", "activations", "temporaries", "workspaces",
                                              "gradients", "temporaries", "optimizer states"));
}

TEST_F(TrainingStep, WhatComesAfterTheLastStepIsNoState) {
  begin("optimizer step", s_.now());
  s_.allocate(0x9000000, 512);
  end();
  const MemoryHistory history = s_.read();
  const auto names = owner_names(find_owners(history.devices[0], 0, history, run_, {}));
  EXPECT_EQ(names.at(names.size() - 2), "optimizer states");
  EXPECT_EQ(names.back(), "other tensors");
}

TEST_F(TrainingStep, ThePeakAndItsParts) {
  const MemoryHistory history = s_.read();
  const auto owned = find_owners(history.devices[0], 0, history, run_, {Bytes(8519680)});
  const DeviceWay way = follow_device(history.devices[0], owned, history, run_);
  EXPECT_EQ(way.peak.phase, "optimizer step");
  EXPECT_EQ(way.peak.allocated, Bytes(8519680 + (10 + 10 + 20) * 512));
  EXPECT_EQ(way.peak.by_owner[static_cast<std::size_t>(MemoryOwner::kOptimizerStates)], 20 * 512);
  EXPECT_EQ(way.peak.by_owner[static_cast<std::size_t>(MemoryOwner::kActivations)], 0);
  EXPECT_EQ(way.peak.largest.at(0).owner, MemoryOwner::kWorkspaces);
  EXPECT_TRUE(way.peak.history_is_whole);
}

TEST_F(TrainingStep, TheTimelineHasThePeakHoweverFewItsPoints) {
  const MemoryHistory history = s_.read();
  const auto owned = find_owners(history.devices[0], 0, history, run_, {});
  for (const std::size_t points : {1, 2, 5, 100}) {
    const DeviceWay way = follow_device(history.devices[0], owned, history, run_, points);
    EXPECT_LE(way.timeline.size(), points);
    std::int64_t most = 0;
    for (const TimelinePoint& point : way.timeline) {
      std::int64_t sum = 0;
      for (const std::int64_t bytes : point.by_owner) sum += bytes;
      most = std::max(most, sum);
    }
    EXPECT_EQ(Bytes(most), way.peak.allocated);
  }
}

TEST(Peak, TensorsThatDifferByANumberAreOneLine) {
  Snapshot snapshot;
  ObservedRun run;
  for (int layer = 0; layer < 12; ++layer) {
    run.modules.push_back("layers." + std::to_string(layer) + ".mlp");
    run.calls.push_back({.time_us = snapshot.now() + 1, .module = layer});
    snapshot.allocate(std::int64_t{4096} * (layer + 1), 2048, Json::array({frame("/me/model.py", 7)}));
  }
  snapshot.allocate(1 << 20, 512, Json::array({frame("/me/model.py", 9)}));
  run.calls.push_back({.time_us = snapshot.now(), .module = -1});
  const MemoryHistory history = snapshot.read();
  const auto owned = find_owners(history.devices[0], 0, history, run, {});
  const auto largest = follow_device(history.devices[0], owned, history, run).peak.largest;
  ASSERT_EQ(largest.size(), 2U);
  EXPECT_EQ(largest[0].count, 12);
  EXPECT_EQ(largest[0].each, Bytes(2048));
  EXPECT_EQ(largest[0].name, "layers.*.mlp");
  EXPECT_EQ(largest[0].line, "model.py:7");
  EXPECT_EQ(largest[1].name, "");
}

}  // namespace
}  // namespace vramwise

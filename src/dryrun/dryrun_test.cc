#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>

#include "base/json.h"
#include "dryrun/description.h"
#include "dryrun/ledger.h"
#include "dryrun/sandbox/run_folder.h"
#include "dryrun/text.h"
#include "gpus/gpu_spec.h"
#include "io/files.h"

namespace vramwise {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kLedger = R"({"devices": [
  {"index": 0, "name": "A", "total_bytes": 1000, "context_bytes": 100, "peak_bytes": 700, "out_of_memory": []},
  {"index": 1, "name": "B", "total_bytes": 1000, "context_bytes": 0, "peak_bytes": 0, "out_of_memory": []}],
  "pinned_host": {"peak_bytes": 5}, "unmodelled": {}, "assumed": {"x": 2}})";

std::string torch_counters(int retries, int ooms) {
  return R"({"torch": "2.14.1", "steps": 3, "loaders_ended": 1, "phases": [
    {"name": "backward", "devices": [{"index": 0, "allocated": [300, 0], "reserved": [600, 2], "device": [700, 2]}]},
    {"name": "forward", "devices": [{"index": 0, "allocated": [400, 1], "reserved": [500, 1], "device": [600, 1]}]}],
    "devices": [{"index": 0, "retries": )" +
         std::to_string(retries) + R"(, "ooms": )" + std::to_string(ooms) + "}]}";
}

DryRun read(const std::vector<std::pair<std::string, std::string>>& files, int script_exit) {
  const auto folder = RunFolder::make();
  for (const auto& [name, text] : files)
    EXPECT_TRUE(write_file_atomically(join_path(folder->ledgers(), name), text).ok());
  auto run = read_dry_run(folder->ledgers(), script_exit);
  EXPECT_TRUE(run.ok());
  return run.value();
}

TEST(DryRun, PutsTheEmulatorsLedgerAndPyTorchsCountersTogether) {
  const DryRun run = read({{"ledger.1.json", kLedger}, {"torch.1.json", torch_counters(0, 0)}}, 0);
  EXPECT_EQ(run.verdict, DryRunVerdict::kFits);
  ASSERT_EQ(run.gpus.size(), 1U) << "a card that was not used is not shown";
  EXPECT_EQ(run.gpus[0].device_peak, Bytes(700));
  EXPECT_EQ(run.gpus[0].left(), Bytes(300));
  EXPECT_EQ(run.gpus[0].reserved->bytes, Bytes(600));
  EXPECT_EQ(run.gpus[0].reserved->step, 2);
  EXPECT_EQ(run.steps, 3);
  EXPECT_EQ(to_json(run)["gpus"][0]["allocated_peak"]["bytes"], 400);
  EXPECT_THAT(describe(run), HasSubstr("It fits."));
  EXPECT_THAT(describe(run), HasSubstr("in backward, step 3"));
  EXPECT_THAT(run.phases_not_reached(), ElementsAre("load", "optimizer step", "evaluation", "checkpoint save"));
  EXPECT_EQ(run.gpus[0].phases.at(0).name, "forward");
}

TEST(DryRun, NamesSizesThatHangOnValues) {
  DryRun run = read({{"ledger.1.json", kLedger}, {"torch.1.json", torch_counters(0, 0)}}, 0);
  run.values =
      R"({"sized": [{"operator": "aten::nonzero", "place": "a.py:3 in f", "taken": 0, "most": 9, "times": 2}]})";
  EXPECT_THAT(describe(run), HasSubstr("  a.py:3 in f: aten::nonzero was taken to find 0 of at most 9 (2 times)\n"));
  EXPECT_THAT(describe(run), HasSubstr("It fits with those sizes"));
}

TEST(DryRun, TellsWhereTheProgramReadWhatWasNotComputed) {
  DryRun run = read({{"ledger.1.json", kLedger}, {"torch.1.json", torch_counters(0, 0)}}, 0);
  run.values = R"({"read": {"a.py:1 in f": 1, "a.py:2 in f": 3, "b.py:1 in g": 1, "b.py:2 in g": 1, "c.py:9 in h": 1,
    "": 7}, "mirrored": {"c10d::allgather_": 2}})";
  EXPECT_THAT(describe(run), HasSubstr("  a.py:2 in f (3 times)\n"));
  EXPECT_THAT(describe(run), HasSubstr("  and 1 place more\n"));
  EXPECT_THAT(describe(run), HasSubstr("what this one sends (2 times)"));
}

TEST(DryRun, ValuesThatDecideWhetherItFitsLeaveNoAnswer) {
  DryRun run = read({{"ledger.1.json", kLedger}, {"torch.1.json", torch_counters(0, 0)}}, 0);
  run.value_check = ValueCheck{.difference = "line 3.",
                               .first = DryRunVerdict::kFits,
                               .second = DryRunVerdict::kFitsWithRetries,
                               .gpus = run.gpus};
  EXPECT_FALSE(run.value_check->decides());
  EXPECT_THAT(describe(run),
              HasSubstr("with these: fits; with others: fits with retries, GPU 0 takes 700 B (300 B left)"));
  EXPECT_THAT(describe(run), HasSubstr("It fits with both of the values that were tried"));
  EXPECT_EQ(run.exit_code(), 0);

  run.value_check->second = DryRunVerdict::kDoesNotFit;
  EXPECT_TRUE(run.value_check->decides());
  run.verdict = DryRunVerdict::kIncomplete;  // as dry_run() has it then
  EXPECT_THAT(describe(run), HasSubstr("hangs on values that were not computed"));
  EXPECT_EQ(to_json(run)["value_check"]["second_verdict"], "does not fit");
}

TEST(DryRun, ProcessesOnOneCardAddUp) {
  const DryRun run = read({{"ledger.1.json", kLedger}, {"ledger.2.json", kLedger}}, 0);
  EXPECT_EQ(run.gpus.at(0).device_peak, Bytes(1400));
  EXPECT_EQ(run.gpus.at(0).left(), Bytes(-400));
  EXPECT_FALSE(run.gpus.at(0).allocated.has_value());
  EXPECT_EQ(run.verdict, DryRunVerdict::kDoesNotFit) << "though each of them saw the whole card";
  EXPECT_EQ(run.exit_code(), 3);
  EXPECT_THAT(describe(run), HasSubstr("its processes together take more"));
}

/// A ledger with one card, whose place among all cards and common peak are given.
std::string shared_ledger(int place, int peak, int together) {
  return R"({"devices": [{"index": 0, "name": "A", "total_bytes": 1000, "context_bytes": 100, "out_of_memory": [],
    "physical_index": )" +
         std::to_string(place) + R"(, "peak_bytes": )" + std::to_string(peak) + R"(, "together_peak_bytes": )" +
         std::to_string(together) + R"(}], "pinned_host": {"peak_bytes": 0}})";
}

TEST(DryRun, ProcessesThatSawEachOtherTookWhatTheySaw) {
  const DryRun run = read({{"ledger.1.json", shared_ledger(0, 700, 900)},
                           {"torch.1.json", torch_counters(0, 0)},
                           {"ledger.2.json", shared_ledger(0, 400, 950)}},
                          0);
  const DryRunGpu& gpu = run.gpus.at(0);
  EXPECT_EQ(gpu.device_peak, Bytes(950)) << "they held their most at other moments";
  EXPECT_EQ(run.verdict, DryRunVerdict::kFits);
  EXPECT_EQ(gpu.share->peak, Bytes(700));
  EXPECT_EQ(gpu.share->reserved, Bytes(600));
  EXPECT_THAT(run.notes, ElementsAre(HasSubstr("2 processes were on GPU 0 at the same time")));
}

TEST(DryRun, ProcessesWithCardsOfTheirOwnDoNotAddUp) {
  const DryRun run = read({{"ledger.1.json", shared_ledger(2, 700, 700)},
                           {"torch.1.json", torch_counters(0, 1)},
                           {"ledger.2.json", shared_ledger(3, 400, 400)},
                           {"torch.2.json", torch_counters(0, 0)}},
                          0);
  ASSERT_EQ(run.gpus.size(), 2U) << "each is card 0 of its process (CUDA_VISIBLE_DEVICES)";
  EXPECT_EQ(run.gpus[0].index, 2);
  EXPECT_EQ(run.gpus[0].device_peak, Bytes(700));
  EXPECT_EQ(run.gpus[0].out_of_memory_errors, 1);
  EXPECT_EQ(run.gpus[1].index, 3);
  EXPECT_EQ(run.gpus[1].device_peak, Bytes(400));
  EXPECT_EQ(run.gpus[1].reserved->bytes, Bytes(600));
  EXPECT_EQ(run.gpus[1].out_of_memory_errors, 0);
  EXPECT_THAT(run.notes, ElementsAre());
}

TEST(DryRun, ErrorsOfAllProcessesCount) {
  std::string refusing = kLedger;
  refusing.replace(refusing.find("\"out_of_memory\": []"), 19, R"("out_of_memory": [{}, {}])");
  const DryRun run = read({{"ledger.1.json", refusing},
                           {"torch.1.json", torch_counters(0, 1)},
                           {"ledger.2.json", kLedger},
                           {"torch.2.json", torch_counters(0, 0)}},
                          1);
  EXPECT_EQ(run.out_of_memory_errors(), 1) << "PyTorch asks twice, and its count is the one that holds";
  EXPECT_EQ(run.verdict, DryRunVerdict::kDoesNotFit);
}

TEST(DryRun, ProcessesAfterOneAnotherDoNotAddUp) {
  const auto folder = RunFolder::make();
  const auto write = [&](const std::string& name, const std::string& text, int second) {
    const std::string path = join_path(folder->ledgers(), name);
    ASSERT_TRUE(write_file_atomically(path, text).ok());
    std::filesystem::last_write_time(path, std::filesystem::file_time_type() + std::chrono::seconds(second));
  };
  write("alive.1", "", 1);
  write("ledger.1.json", kLedger, 2);
  write("torch.1.json", torch_counters(0, 0), 2);
  write("alive.2", "", 3);
  write("ledger.2.json", kLedger, 4);
  write("torch.2.json", torch_counters(0, 0), 4);
  DryRun run = read_dry_run(folder->ledgers(), 0).value();
  EXPECT_EQ(run.verdict, DryRunVerdict::kFits);
  EXPECT_EQ(run.gpus.at(0).device_peak, Bytes(700));
  EXPECT_EQ(run.gpus.at(0).context, Bytes(100));
  EXPECT_EQ(run.gpus.at(0).allocated->bytes, Bytes(400));
  write("alive.2", "", 2);  // as the first one ended
  run = read_dry_run(folder->ledgers(), 0).value();
  EXPECT_EQ(run.gpus.at(0).device_peak, Bytes(1400));
  EXPECT_EQ(run.gpus.at(0).allocated->bytes, Bytes(800));
}

TEST(DryRun, AProcessWithoutALedgerLeavesTheQuestionOpen) {
  EXPECT_EQ(read({{"ledger.1.json", kLedger}, {"alive.1", ""}}, 0).verdict, DryRunVerdict::kFits);
  const DryRun run = read({{"ledger.1.json", kLedger}, {"alive.1", ""}, {"alive.2", ""}}, 0);
  EXPECT_EQ(run.verdict, DryRunVerdict::kIncomplete);
  EXPECT_THAT(describe(run), HasSubstr("1 process that used CUDA ended without telling what it took"));
  EXPECT_EQ(read({{"alive.2", ""}}, 0).verdict, DryRunVerdict::kIncomplete);
}

TEST(DryRun, WhatWasNotSeenIsTold) {
  std::string ledger = kLedger;
  ledger.insert(ledger.find('{') + 1, R"("python_torch": true, )");
  const auto notes = [&](std::vector<std::pair<std::string, std::string>> files) {
    files.emplace_back("ledger.1.json", ledger);
    const DryRun run = read(files, 0);
    EXPECT_EQ(run.verdict, DryRunVerdict::kFits) << "device memory is true nevertheless";
    return run.notes;
  };
  EXPECT_THAT(notes({{"hook.1", ""}, {"torch.1.json", torch_counters(0, 0)}}), ElementsAre());
  EXPECT_THAT(notes({}), ElementsAre(HasSubstr("of a process with PyTorch only the device memory was measured")));
  EXPECT_THAT(notes({{"hook.1", ""}, {"outside.7", ""}, {"outside.8", ""}}),
              ElementsAre(HasSubstr("2 processes with PyTorch ran beside the emulated cards")));
  EXPECT_THAT(notes({{"hook.1", ""}, {"note.jax.1", "of JAX"}, {"note.jax.2", "of JAX"}}), ElementsAre("of JAX"));
}

TEST(DryRun, ThreadsAreTold) {
  std::string counters = torch_counters(0, 0);
  counters.insert(counters.find('{') + 1, R"("threads": [{"devices": [1]}], "threads_are_mixed": true, )");
  const DryRun run = read({{"ledger.1.json", kLedger}, {"torch.1.json", counters}}, 0);
  EXPECT_THAT(run.notes, ElementsAre(HasSubstr("2 threads trained on cards of their own"),
                                     HasSubstr("several threads took optimizer steps on one card")));
}

TEST(DryRun, LoadersWhoseBatchesNobodyUsedAreTold) {
  std::string counters = torch_counters(0, 0);
  counters.insert(counters.find('{') + 1, R"("loaders_unused": 2, )");
  const DryRun run = read({{"ledger.1.json", kLedger}, {"torch.1.json", counters}}, 0);
  EXPECT_THAT(run.notes, ElementsAre(AllOf(HasSubstr("each of 2 data loaders was ended"), HasSubstr("--full"))));
}

TEST(DryRun, LagAndTheGivenContextAreInTheReport) {
  DryRun run = read({{"ledger.1.json", kLedger}, {"torch.1.json", torch_counters(0, 0)}}, 0);
  EXPECT_THAT(describe(run), AllOf(Not(HasSubstr("lag")), Not(HasSubstr("as given"))));
  run.context_is_given = true;
  run.with_lag = LaggingRun{.verdict = DryRunVerdict::kFitsWithRetries, .gpus = run.gpus};
  run.with_lag->gpus[0].device_peak += Bytes::mib(3);
  EXPECT_THAT(describe(run),
              AllOf(HasSubstr("of CUDA context, as given"),
                    HasSubstr("When work on the cards lags behind the host (verdict: fits with retries)"),
                    HasSubstr("3.0 MiB more")));
  EXPECT_EQ(to_json(run)["with_lag"]["verdict"], "fits with retries");
  run.lags = true;
  EXPECT_THAT(describe(run), HasSubstr("(--lag on)"));
}

TEST(DryRun, Verdicts) {
  const auto verdict = [](int retries, int ooms, int script_exit) {
    return read({{"ledger.1.json", kLedger}, {"torch.1.json", torch_counters(retries, ooms)}}, script_exit);
  };
  EXPECT_EQ(verdict(2, 0, 0).verdict, DryRunVerdict::kFitsWithRetries);
  EXPECT_EQ(verdict(2, 0, 0).exit_code(), 0);
  EXPECT_EQ(verdict(1, 1, 1).verdict, DryRunVerdict::kDoesNotFit);
  EXPECT_EQ(verdict(1, 1, 1).exit_code(), 3);
  EXPECT_EQ(verdict(1, 1, 9).exit_code(), 9) << "it recovered, and ended with a code of its own";
  EXPECT_THAT(describe(verdict(1, 1, 0)), HasSubstr("it recovered from 1 out-of-memory error"));
  EXPECT_EQ(verdict(0, 0, 7).verdict, DryRunVerdict::kScriptFailed);
  EXPECT_EQ(verdict(0, 0, 7).exit_code(), 7);
  EXPECT_EQ(read({}, 0).verdict, DryRunVerdict::kNoCuda);
  EXPECT_EQ(read({}, 0).exit_code(), 5);
  EXPECT_EQ(read({}, 2).exit_code(), 2);
}

TEST(DryRun, ASignalInterrupts) {
  for (const int code : {130, 143}) {
    const DryRun told = read({{"ledger.1.json", kLedger}, {"torch.1.json", torch_counters(0, 0)}}, code);
    EXPECT_EQ(told.verdict, DryRunVerdict::kInterrupted);
    EXPECT_EQ(told.exit_code(), code);
    EXPECT_THAT(describe(told), HasSubstr("up to then it fits"));
    const DryRun killed = read({{"alive.1", ""}}, code);
    EXPECT_EQ(killed.verdict, DryRunVerdict::kInterrupted);
    EXPECT_EQ(killed.exit_code(), code);
    EXPECT_THAT(describe(killed), HasSubstr("what it took until then is not known"));
  }
}

TEST(DryRun, WhatIsNotModelledLeavesTheQuestionOpen) {
  Json ledger = parse_json(kLedger, "ledger").value();
  ledger["unmodelled"]["cudnnRNNForward"] = 4;
  const DryRun run = read({{"ledger.1.json", ledger.dump()}, {"torch.1.json", torch_counters(0, 0)}}, 0);
  EXPECT_EQ(run.verdict, DryRunVerdict::kIncomplete);
  EXPECT_EQ(run.exit_code(), 5);
  EXPECT_THAT(describe(run), HasSubstr("cudnnRNNForward (4 times)"));
  EXPECT_THAT(describe(run), Not(HasSubstr("It fits")));
}

TEST(DryRun, BrokenLedgersAreErrors) {
  const auto folder = RunFolder::make();
  ASSERT_TRUE(write_file_atomically(join_path(folder->ledgers(), "ledger.1.json"), "{").ok());
  EXPECT_FALSE(read_dry_run(folder->ledgers(), 0).ok());
}

TEST(Description, TakesTheCataloguesFigures) {
  const auto cards = parse_gpu_spec("rtx-3090,rtx-3080");
  ASSERT_TRUE(cards.ok());
  const auto machine = emulated_machine(*cards);
  ASSERT_TRUE(machine.ok());
  const Json& card = (*machine)["cards"][0];
  EXPECT_EQ(card["capability"], "8.6");
  EXPECT_EQ(card["total_bytes"], cards->at(0).cuda_total->count());
  EXPECT_GT(card["context_bytes"], 0);
  EXPECT_EQ((*machine)["cards"].size(), 2U);
}

TEST(Description, RefusesWhatHasNoCuda) {
  const auto cards = parse_gpu_spec("rx-7900-xtx");
  ASSERT_TRUE(cards.ok());
  EXPECT_FALSE(emulated_machine(*cards).ok());
}

}  // namespace
}  // namespace vramwise

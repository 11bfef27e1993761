// Golden tests of the three layouts of the report block: keys, order and spacing line by line; figures that come from
// the estimate are taken from the plan itself, so that a better estimate does not touch the layout.
#include "report/plan_text.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "report/plan_json.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

Card gpu(const char* name, Bytes memory) {
  return {
      .name = name, .device = "cuda:0", .shown_total = memory, .budget = memory, .target = {.backend = Backend::kCuda}};
}

PlanRequest request_for(std::vector<Card> cards, CardOrigin origin = CardOrigin::kDetected) {
  PlanRequest request;
  request.model = model_preset("medium").value();
  request.model_name = "medium";
  request.cards = std::move(cards);
  request.origin = origin;
  return request;
}

std::string gib(Bytes bytes) { return format_gib(bytes); }

TEST(ReportBlock, OneCard) {
  const Plan plan = make_plan(request_for({gpu("NVIDIA GeForce RTX 3080", Bytes::gib(16))})).value();
  const Bytes left = plan.cards[0].usable - plan.model_memory;
  const std::string expected =
      "============================================================\n"
      "VRAM Optimizer\n"
      "============================================================\n"
      "\n"
      "Detected GPUs: 1\n"
      "  GPU 0: NVIDIA GeForce RTX 3080 (16.00 GB)\n"
      "\n"
      "Target VRAM: 16.00 GB\n"
      "Safety Margin: 1024 MB (1GB)\n"
      "Usable VRAM: 15.00 GB (15360 MB)\n"
      "\n" +
      fmt::format("Estimated Model Memory: {} MB ({} GB)\n", format_mib(plan.model_memory), gib(plan.model_memory)) +
      fmt::format("Available for Batches: {} MB ({} GB)\n", format_mib(left), gib(left)) +
      "\n"
      "============================================================\n"
      "Optimized Configuration\n"
      "============================================================\n"
      "  batch_size                    : 2\n"
      "  gradient_accumulation_steps   : 8\n"
      "  max_seq_len                   : 512\n"
      "  use_fp16                      : True\n"
      "  use_gradient_checkpointing    : True\n"
      "  use_cpu_offload               : False\n"
      "  effective_batch_size          : 16\n"
      "  description                   : Auto-optimized for 16.0GB VRAM\n"
      "============================================================\n";
  EXPECT_EQ(report_block(plan), expected);
}

TEST(ReportBlock, TwoCards) {
  const Card card = gpu("NVIDIA RTX 3090", Bytes::gib(24));
  const Plan plan = make_plan(request_for({card, card})).value();
  const std::vector<std::string> lines = split(report_block(plan), '\n');
  const std::vector<std::string> expected = {"============================================================",
                                             "VRAM Optimizer",
                                             "============================================================",
                                             "",
                                             "Detected GPUs: 2",
                                             "  GPU 0: NVIDIA RTX 3090 (24.00 GB)",
                                             "  GPU 1: NVIDIA RTX 3090 (24.00 GB)",
                                             "",
                                             "Total VRAM: 48.00 GB",
                                             "Target VRAM: 48.00 GB",
                                             "Usable VRAM: 47.00 GB (48,128MB after 1024MB safety margin)",
                                             ""};
  ASSERT_GT(lines.size(), expected.size());
  EXPECT_EQ(std::vector<std::string>(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(expected.size())),
            expected);
  // The second card holds weights and gradients only.
  const Bytes first = plan.cards[0].model_memory();
  const Bytes second = first - plan.cards[0].ledger.at_peak.optimizer_states;
  EXPECT_LT(second * 2, first);
  EXPECT_EQ(lines[12], fmt::format("Estimated Model Memory: {} MB ({} GB) on GPU 0, {} MB ({} GB) on each other",
                                   format_mib(first), gib(first), format_mib(second), gib(second)));
  const Bytes usable = Bytes::gib(23);
  EXPECT_EQ(lines[13], fmt::format("Available for Batches on GPU 0: {} MB ({} GB of {} GB usable)",
                                   format_mib(usable - first), gib(usable - first), gib(usable)));
  EXPECT_EQ(lines[14], fmt::format("Available for Batches on GPU 1: {} MB ({} GB of {} GB usable)",
                                   format_mib(usable - second), gib(usable - second), gib(usable)));
  const std::vector<std::string> rest = {"",
                                         "============================================================",
                                         "Optimized Configuration",
                                         "============================================================",
                                         "  batch_size                    : 4",
                                         "  gradient_accumulation_steps   : 4",
                                         "  max_seq_len                   : 1024",
                                         "  use_fp16                      : True",
                                         "  use_gradient_checkpointing    : False",
                                         "  use_cpu_offload               : False",
                                         "  effective_batch_size          : 32",
                                         "  description                   : Auto-optimized for 48.0GB VRAM",
                                         "============================================================",
                                         ""};
  EXPECT_EQ(std::vector<std::string>(lines.begin() + 15, lines.end()), rest);
}

TEST(ReportBlock, NoCard) {
  Card host = gpu("AMD EPYC", Bytes::gib(24));
  host.backend = host.target.backend = Backend::kCpu;
  host.budget = Bytes::gib(20);
  const Plan plan = make_plan(request_for({host}, CardOrigin::kHost)).value();
  const Bytes left = Bytes::gib(19) - plan.model_memory;
  const std::string expected =
      "============================================================\n"
      "VRAM Optimizer\n"
      "============================================================\n"
      "\n"
      "Detected GPUs: 0\n"
      "  CPU: AMD EPYC (24.00 GB host memory)\n"
      "\n"
      "Target VRAM: 20.00 GB\n"
      "Safety Margin: 1024 MB (1GB)\n"
      "Usable VRAM: 19.00 GB (19456 MB)\n"
      "\n" +
      fmt::format("Estimated Model Memory: {} MB ({} GB)\n", format_mib(plan.model_memory), gib(plan.model_memory)) +
      fmt::format("Available for Batches: {} MB ({} GB)\n", format_mib(left), gib(left)) +
      "\n"
      "============================================================\n"
      "Optimized Configuration\n"
      "============================================================\n"
      "  batch_size                    : 4\n"
      "  gradient_accumulation_steps   : 4\n"
      "  max_seq_len                   : 1024\n"
      "  use_fp16                      : False\n"
      "  use_gradient_checkpointing    : False\n"
      "  use_cpu_offload               : False\n"
      "  effective_batch_size          : 16\n"
      "  description                   : Auto-optimized for 20.0GB VRAM\n"
      "============================================================\n";
  EXPECT_EQ(report_block(plan), expected);
}

TEST(PlanText, NamesPeakDecisionsAndNotes) {
  PlanRequest request = request_for({gpu("Card", Bytes::gib(24))});
  request.model = model_preset("large").value();
  request.safety_margin = Bytes::gib(16);
  request.target = parse_vram("24").value();
  request.target.note = "a note";
  const Plan plan = make_plan(request).value();
  ASSERT_FALSE(plan.decisions.empty());
  const std::string text = plan_text(plan);
  for (const Decision& decision : plan.decisions) EXPECT_THAT(text, HasSubstr(decision.knob + ": " + decision.change));
  EXPECT_THAT(text, HasSubstr("Note: a note\n"));
  EXPECT_THAT(text, HasSubstr("Predicted peak ("));
}

TEST(PlanJson, HasTheDocumentedKeys) {
  const Plan plan = make_plan(request_for({gpu("Card", Bytes::gib(16))})).value();
  const Json json = plan_json(plan);
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"schema", "schema_version", "fits", "strategy", "model", "target",
                                            "cards_from", "cards", "configuration", "time", "risk",
                                            "model_memory_bytes", "largest_batch_size_that_fits", "decisions",
                                            "runner_ups", "gain_of_fastest", "replays", "notes"}));
  EXPECT_EQ(json["configuration"]["batch_size"], 2);
  EXPECT_EQ(json["cards"][0]["usable_bytes"], Bytes::gib(15).count());
  EXPECT_EQ(json["cards"][0]["peak"]["device_bytes"], plan.cards[0].ledger.device.count());
}

}  // namespace
}  // namespace vramwise

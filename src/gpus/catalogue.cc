// Reading the tables: each row becomes a GpuModel, each empty field an absent figure. The compiled-in tables are ours,
// so an error in them is a bug; the parsers themselves report errors as values, for tests.
#include "gpus/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "base/text.h"
#include "base/units.h"
#include "gpus/csv.h"
#include "gpus/gpu_names.h"

namespace vramwise {
namespace internal {
extern const std::string_view kGpusCsv;     // made by embed.cmake
extern const std::string_view kSourcesCsv;  // made by embed.cmake
}  // namespace internal

namespace {

constexpr std::array<std::pair<std::string_view, GpuVendor>, 3> kVendors = {{
    {"nvidia", GpuVendor::kNvidia},
    {"amd", GpuVendor::kAmd},
    {"intel", GpuVendor::kIntel},
}};
constexpr std::array<std::pair<std::string_view, GpuClass>, 6> kClasses = {{
    {"consumer", GpuClass::kConsumer},
    {"workstation", GpuClass::kWorkstation},
    {"datacenter", GpuClass::kDatacenter},
    {"laptop", GpuClass::kLaptop},
    {"jetson", GpuClass::kJetson},
    {"soc", GpuClass::kSoc},
}};

// GT/s a lane by generation (PCI Express Base Specification).
constexpr std::array<double, 6> kTransfers = {2.5, 5, 8, 16, 32, 64};

/// One row, read by column name; the first error is kept and later reads yield nothing.
class Row {
 public:
  Row(const std::map<std::string, std::size_t>& columns, const std::vector<std::string>& fields, std::size_t number)
      : columns_(columns), fields_(fields), number_(number) {}

  std::string text(const std::string& column) {
    const auto found = columns_.find(column);
    if (found == columns_.end()) {
      fail(column, "the table lacks this column");
      return {};
    }
    return fields_[found->second];
  }

  std::optional<double> number(const std::string& column) {
    const std::string field = text(column);
    if (field.empty()) return std::nullopt;
    const std::optional<double> value = parse_number(field);
    if (!value || *value <= 0) fail(column, fmt::format("'{}' is no positive number", field));
    return value;
  }

  std::optional<Bytes> mib(const std::string& column) {
    const std::optional<double> value = number(column);
    if (!value) return std::nullopt;
    return Bytes::mib(std::llround(*value));
  }

  template <typename Table>
  auto one_of(const std::string& column, const Table& table) {
    const std::string field = text(column);
    for (const auto& [word, value] : table) {
      if (word == field) return value;
    }
    fail(column, fmt::format("'{}' is none of the known words", field));
    return table[0].second;
  }

  void fail(const std::string& column, const std::string& why) {
    if (!error_) error_ = world_error(fmt::format("table of cards, row {}, {}: {}", number_, column, why));
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  const std::map<std::string, std::size_t>& columns_;
  const std::vector<std::string>& fields_;
  std::size_t number_;
  std::optional<Error> error_;
};

std::optional<PcieLink> pcie_link(Row& row) {
  const std::string field = row.text("pcie");  // "4x16"
  if (field.empty()) return std::nullopt;
  const std::vector<std::string> parts = split(field, 'x');
  const std::optional<std::int64_t> generation = parse_integer(parts[0]);
  const std::optional<std::int64_t> lanes = parts.size() == 2 ? parse_integer(parts[1]) : std::nullopt;
  if (!generation || !lanes || *generation < 1 || *generation > 6) {
    row.fail("pcie", fmt::format("'{}' is not like 4x16", field));
    return std::nullopt;
  }
  return PcieLink{static_cast<int>(*generation), static_cast<int>(*lanes)};
}

Result<GpuModel> model_of(Row& row) {
  GpuModel model;
  model.id = row.text("id");
  model.name = row.text("name");
  model.vendor = row.one_of("vendor", kVendors);
  model.architecture = row.text("architecture");
  model.kind = row.one_of("class", kClasses);
  model.memory_gb = row.number("memory_gb").value_or(0);
  model.nvml_total = row.mib("nvml_total_mib");
  model.cuda_total = row.mib("cuda_total_mib");
  model.cuda_total_is_derived = row.text("cuda_origin") == "derived";
  if (const std::optional<double> units = row.number("units")) model.units = static_cast<int>(*units);
  model.target = row.text("compute");
  if (model.vendor == GpuVendor::kNvidia) {
    model.compute_capability = parse_compute_capability(model.target);
    if (!model.compute_capability) row.fail("compute", fmt::format("'{}' is not like 8.9", model.target));
  }
  model.bandwidth_gb_s = row.number("bandwidth_gb_s");
  model.tflops = {.fp32 = row.number("fp32"),
                  .tf32 = row.number("tf32"),
                  .fp16 = row.number("fp16"),
                  .bf16 = row.number("bf16"),
                  .fp8 = row.number("fp8"),
                  .int8 = row.number("int8")};
  model.pcie = pcie_link(row);
  model.nvlink_gb_s = row.number("nvlink_gb_s");
  model.unified_memory = row.text("unified_memory") == "1";
  model.sources = {.card = row.text("src_card"),
                   .nvml = row.text("src_nvml"),
                   .cuda = row.text("src_cuda"),
                   .fp32 = row.text("src_fp32"),
                   .matrix = row.text("src_matrix"),
                   .link = row.text("src_link")};
  if (model.id.empty() || model.name.empty()) row.fail("id", "id and name must not be empty");
  if (const std::optional<Error>& error = row.error()) return *error;
  return model;
}

}  // namespace

std::optional<ComputeCapability> parse_compute_capability(std::string_view text) {
  const std::vector<std::string> parts = split(text, '.');
  if (parts.size() != 2) return std::nullopt;
  const std::optional<std::int64_t> major = parse_integer(parts[0]);
  const std::optional<std::int64_t> minor = parse_integer(parts[1]);
  if (!major || !minor || *major < 1 || *major > 99 || *minor < 0 || *minor > 9) return std::nullopt;
  return ComputeCapability{static_cast<int>(*major), static_cast<int>(*minor)};
}

std::string to_string(ComputeCapability capability) { return fmt::format("{}.{}", capability.major, capability.minor); }

double PcieLink::gb_s() const {
  VRAMWISE_CHECK(generation >= 1 && generation <= 6);
  const double coding = generation <= 2 ? 8.0 / 10 : 128.0 / 130;
  return kTransfers[static_cast<std::size_t>(generation) - 1] * coding * lanes / 8;
}

Result<std::vector<GpuModel>> parse_gpu_table(std::string_view csv) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto rows, parse_csv(csv));
  if (rows.empty()) return world_error("the table of cards is empty");
  std::map<std::string, std::size_t> columns;
  for (std::size_t i = 0; i < rows[0].size(); ++i) columns[rows[0][i]] = i;
  std::vector<GpuModel> models;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    Row row(columns, rows[i], i + 1);
    VRAMWISE_ASSIGN_OR_RETURN(GpuModel model, model_of(row));
    models.push_back(std::move(model));
  }
  return models;
}

Result<std::vector<GpuSource>> parse_gpu_sources(std::string_view csv) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto rows, parse_csv(csv));
  if (rows.empty() || rows[0] != std::vector<std::string>{"key", "kind", "document"}) {
    return world_error("the table of sources must have the columns key, kind, document");
  }
  std::vector<GpuSource> sources;
  for (std::size_t i = 1; i < rows.size(); ++i) sources.push_back({rows[i][0], rows[i][1], rows[i][2]});
  return sources;
}

const std::vector<GpuModel>& gpu_catalogue() {
  static const std::vector<GpuModel> kModels = parse_gpu_table(internal::kGpusCsv).value();
  return kModels;
}

const std::vector<GpuSource>& gpu_sources() {
  static const std::vector<GpuSource> kSources = parse_gpu_sources(internal::kSourcesCsv).value();
  return kSources;
}

const GpuModel* find_gpu(std::string_view id) {
  const std::vector<GpuModel>& models = gpu_catalogue();
  const auto found = std::find_if(models.begin(), models.end(), [&](const GpuModel& m) { return m.id == id; });
  return found == models.end() ? nullptr : &*found;
}

const GpuModel* find_by_nvml_name(std::string_view name, std::optional<Bytes> total) {
  const std::string key = gpu_name_key(name);
  const GpuModel* best = nullptr;
  double best_distance = 0;
  for (const GpuModel& model : gpu_catalogue()) {
    if (gpu_name_key(model.name) != key) continue;
    const double distance = total ? std::fabs(total->in_gib() - model.memory_gb) : 0;
    if (best == nullptr || distance < best_distance) {
      best = &model;
      best_distance = distance;
    }
  }
  return best;
}

GpuModel with_memory(const GpuModel& model, double gb) {
  VRAMWISE_CHECK(gb > 0 && model.memory_gb > 0);
  GpuModel resized = model;
  resized.id = fmt::format("{}:{:g}gb", model.id, gb);
  resized.memory_gb = gb;
  const auto scaled = [&](Bytes bytes) { return Bytes::mib(std::llround(bytes.in_mib() * gb / model.memory_gb)); };
  const Bytes nominal = Bytes::mib(std::llround(model.memory_gb * 1024));
  const Bytes old_total = model.nvml_total.value_or(nominal);
  const Bytes new_total = scaled(old_total);
  if (model.nvml_total) resized.nvml_total = new_total;
  // Where a card's total is the system's choice (unified memory), the size asked for is taken as it stands. A reserve
  // that would leave nothing of a tiny card shrinks with it.
  resized.cuda_total = new_total;
  if (model.cuda_total && !model.unified_memory) {
    const Bytes less_reserve = new_total - (old_total - *model.cuda_total);
    resized.cuda_total = less_reserve > new_total / 2 ? less_reserve : scaled(*model.cuda_total);
  }
  resized.cuda_total_is_derived = true;
  return resized;
}

GpuModel unknown_gpu(Bytes cuda_total) {
  GpuModel model;
  model.id = fmt::format("{:g}gb", cuda_total.in_gib());
  model.name = fmt::format("GPU with {:g} GB", cuda_total.in_gib());
  model.memory_gb = cuda_total.in_gib();
  model.cuda_total = cuda_total;
  return model;
}

}  // namespace vramwise

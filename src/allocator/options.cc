// The grammar and the checks are those of c10/core/AllocatorConfig.cpp and c10/cuda/CUDAAllocatorConfig.cpp in PyTorch
// 2.14: tokens are ':', ',', '[', ']' and what lies between; white space is nothing.
#include "allocator/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <optional>
#include <string>
#include <vector>

namespace vramwise {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr std::int64_t kMostMiB = std::int64_t{1} << 40;  // more is as good as no limit

std::vector<std::string> tokens_of(std::string_view text) {
  std::vector<std::string> tokens;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) tokens.push_back(std::move(word));
    word.clear();
  };
  for (const char each : text) {
    if (each == ',' || each == ':' || each == '[' || each == ']') {
      end_word();
      tokens.emplace_back(1, each);
    } else if (std::isspace(static_cast<unsigned char>(each)) == 0) {
      word += each;
    }
  }
  end_word();
  return tokens;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text), tokens_(tokens_of(text)) {}

  Result<AllocatorOptions> run() {
    // As in PyTorch, the segment size comes first: it bounds other options, wherever it stands.
    VRAMWISE_RETURN_IF_ERROR(each_key(true));
    options_.max_non_split_rounding_bytes = options_.large_segment_bytes;
    VRAMWISE_RETURN_IF_ERROR(each_key(false));
    const bool whole_pages = options_.large_segment_bytes % (2 * kMiB) == 0;
    if (options_.expandable_segments && !whole_pages)
      return refused("large_segment_size_mb must be even where expandable_segments is on: CUDA maps pages of 2 MiB");
    return options_;
  }

 private:
  Error refused(const std::string& reason) const {
    return usage_error(fmt::format("allocator settings \"{}\": {}", text_, reason),
                       "see PyTorch's notes on PYTORCH_ALLOC_CONF");
  }
  static std::string quoted(std::string_view token) { return fmt::format("\"{}\"", token); }

  Status each_key(bool segment_size_only) {
    next_ = 0;
    while (next_ < tokens_.size()) {
      const std::string key = tokens_[next_++];
      if (!take(":")) return refused(quoted(key) + " has no value");
      VRAMWISE_RETURN_IF_ERROR((key == "large_segment_size_mb") == segment_size_only ? read(key) : skip());
      if (next_ < tokens_.size() && !take(",")) return refused("a comma is missing before " + quoted(tokens_[next_]));
    }
    return Done();
  }

  bool take(std::string_view token) {
    if (next_ >= tokens_.size() || tokens_[next_] != token) return false;
    ++next_;
    return true;
  }

  Status skip() {
    if (!take("[")) return ++next_ <= tokens_.size() ? Status(Done()) : Status(refused("a value is missing"));
    while (next_ < tokens_.size() && tokens_[next_] != "]") ++next_;
    return take("]") ? Status(Done()) : Status(refused("a closing ] is missing"));
  }

  template <typename T>
  std::optional<T> number() {
    if (next_ >= tokens_.size()) return std::nullopt;
    const std::string& token = tokens_[next_++];
    T value{};
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
    if (error != std::errc() || end != token.data() + token.size()) return std::nullopt;
    return value;
  }

  Status read_mib(const char* name, std::int64_t least, std::int64_t& bytes) {
    const auto value = number<std::int64_t>();
    if (!value || *value < least) return refused(fmt::format("{} must be a whole number of at least {}", name, least));
    bytes = *value >= kMostMiB ? AllocatorOptions::kUnlimited : *value * kMiB;
    return Done();
  }

  Status read_bool(const std::string& key, bool& value) {
    if (take("True")) {
      value = true;
    } else if (take("False")) {
      value = false;
    } else {
      return refused(key + " must be True or False");
    }
    return Done();
  }

  Status read_fraction(const std::string& key, double& value, bool ends_allowed) {
    const auto number_read = number<double>();
    const bool in_range =
        number_read && (ends_allowed ? *number_read >= 0 && *number_read <= 1 : *number_read > 0 && *number_read < 1);
    if (!in_range) return refused(key + " must lie between 0 and 1");
    value = *number_read;
    return Done();
  }

  Status read_divisions() {
    auto& divisions = options_.roundup_power2_divisions;
    if (!take("[")) {
      const auto value = number<std::int64_t>();
      if (!value || *value <= 0 || !std::has_single_bit(static_cast<std::uint64_t>(*value)))
        return refused("roundup_power2_divisions must be a power of 2, or a list of size:divisions");
      divisions.fill(*value);
      return Done();
    }
    std::size_t last = 0;
    bool first = true;
    while (!take("]")) {
      const bool rest = take(">");
      const auto boundary = rest ? std::optional<std::int64_t>(1) : number<std::int64_t>();
      if (!boundary || *boundary <= 0 || !std::has_single_bit(static_cast<std::uint64_t>(*boundary)) || !take(":"))
        return refused("roundup_power2_divisions wants [size in MB:divisions,...], sizes being powers of 2");
      const auto value = number<std::int64_t>();
      if (!value || *value < 0 || (*value > 0 && !std::has_single_bit(static_cast<std::uint64_t>(*value))))
        return refused("roundup_power2_divisions: divisions must be 0 or a power of 2");
      if (rest) {
        std::fill(divisions.begin() + static_cast<std::ptrdiff_t>(last) + 1, divisions.end(), *value);
      } else {
        const auto exponent = static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(*boundary)) - 1);
        last = std::min(exponent, divisions.size() - 1);
        if (first) std::fill_n(divisions.begin(), last, *value);
        divisions[last] = *value;
        first = false;
      }
      if (next_ < tokens_.size() && tokens_[next_] != "]" && !take(",")) return refused("a comma or ] is missing");
      if (next_ >= tokens_.size()) return refused("a closing ] is missing");
    }
    return Done();
  }

  /// Settings of page-locked host memory, or of locks, that cannot change device memory.
  static bool is_harmless(std::string_view key) {
    return key.starts_with("pinned_") || key == "release_lock_on_cudamalloc" || key == "release_lock_on_hipmalloc" ||
           key == "graph_capture_record_stream_reuse";
  }

  Status read(const std::string& key) {
    const std::int64_t segment_mib = options_.large_segment_bytes / kMiB;
    if (key == "expandable_segments") return read_bool(key, options_.expandable_segments);
    if (key == "large_segment_size_mb") return read_mib("large_segment_size_mb", 11, options_.large_segment_bytes);
    if (key == "max_split_size_mb") return read_mib("max_split_size_mb", segment_mib, options_.max_split_bytes);
    if (key == "max_non_split_rounding_mb")
      return read_mib("max_non_split_rounding_mb", segment_mib, options_.max_non_split_rounding_bytes);
    if (key == "garbage_collection_threshold") return read_fraction(key, options_.garbage_collection_threshold, false);
    if (key == "per_process_memory_fraction") return read_fraction(key, options_.memory_fraction, true);
    if (key == "roundup_power2_divisions") return read_divisions();
    if (is_harmless(key)) return skip();
    if (key == "backend" && take("native")) return Done();
    if (key == "backend") return not_modelled(key);
    if (key == "throw_on_cudamalloc_oom") {
      bool on = false;
      VRAMWISE_RETURN_IF_ERROR(read_bool(key, on));
      return on ? Status(not_modelled(key + ":True")) : Status(Done());
    }
    return refused("PyTorch 2.14 has no setting " + quoted(key));
  }

  Error not_modelled(const std::string& what) const {
    return incomplete(fmt::format("allocator settings \"{}\": {} is not modelled", text_, what),
                      "leave it out, or use vramwise dryrun");
  }

  std::string text_;
  std::vector<std::string> tokens_;
  std::size_t next_ = 0;
  AllocatorOptions options_;
};

}  // namespace

Result<AllocatorOptions> parse_allocator_options(std::string_view text) { return Parser(text).run(); }

}  // namespace vramwise

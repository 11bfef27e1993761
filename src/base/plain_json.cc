// JSON into PlainData, event by event: no tree of a JSON library stands in between, so that a snapshot of a gigabyte
// does not take five.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/pickle.h"

namespace vramwise {
namespace {

constexpr std::size_t kDeepest = 200;

class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  PlainData data;
  std::string problem;

  bool null() override { return put(data.add_none()); }
  bool boolean(bool value) override { return put(data.add_bool(value)); }
  bool number_integer(number_integer_t value) override { return put(data.add_integer(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return put(data.add_integer(static_cast<std::int64_t>(value < kMost ? value : kMost)));
  }
  bool number_float(number_float_t value, const string_t&) override { return put(data.add_real(value)); }
  bool string(string_t& value) override { return put(data.add_text(data.keep(std::move(value)))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(data.add_dict()); }
  bool key(string_t& value) override {
    data.append(open_.back(), data.add_text(data.keep(std::move(value))));
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(data.add_list()); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    problem = fmt::format("not JSON, at byte {}: {}", position, error.what());
    return false;
  }

 private:
  bool put(PlainData::Index value) {
    if (open_.empty()) {
      data.set_root(value);
    } else {
      data.append(open_.back(), value);
    }
    return true;
  }
  bool open(PlainData::Index container) {
    put(container);
    open_.push_back(container);
    if (open_.size() <= kDeepest) return true;
    problem = "nested too deep";
    return false;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::vector<PlainData::Index> open_;
};

}  // namespace

Result<PlainData> parse_plain_json(std::string_view text, const std::string& where) {
  Builder builder;
  if (!nlohmann::json::sax_parse(text, &builder)) return world_error(where + ": " + builder.problem);
  return std::move(builder.data);
}

}  // namespace vramwise

// Each line is one write(2) with O_APPEND, so that whoever follows the file sees whole lines.
#include "train/metrics_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "io/files.h"

namespace vramwise {
namespace {

/// The lines of `text` that belong to steps up to `last_step`; a line that is no JSON (cut off in a crash) is dropped.
std::string lines_until(const std::string& text, std::int64_t last_step) {
  std::string kept;
  for (const std::string& line : split(text, '\n')) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const Result<std::int64_t> step = json_get<std::int64_t>(json, "step");
    if (step.ok() && *step <= last_step) kept += line + "\n";
  }
  return kept;
}

}  // namespace

Result<MetricsLog> MetricsLog::open(const std::string& path, std::int64_t last_step) {
  std::string kept;
  if (last_step > 0 && path_exists(path)) {
    VRAMWISE_ASSIGN_OR_RETURN(const std::string old, read_file(path, std::int64_t{1} << 34));
    kept = lines_until(old, last_step);
  }
  VRAMWISE_RETURN_IF_ERROR(write_file_atomically(path, kept));
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor < 0) return file_error("write", path, errno);
  return MetricsLog(path, descriptor);
}

Status MetricsLog::append(const Json& line) {
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return file_error("write", path_, errno);
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  return Done{};
}

MetricsLog::MetricsLog(MetricsLog&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

MetricsLog& MetricsLog::operator=(MetricsLog&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

MetricsLog::~MetricsLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace vramwise

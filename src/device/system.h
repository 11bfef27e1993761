// System: the one seam between vramwise and the machine it runs on. Everything that probing or diagnosing reads goes
// through it, so a machine that nobody here owns is a test (fake_system.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "device/nvml.h"

namespace vramwise {

struct DiskSpace {
  Bytes total;
  Bytes available;  ///< to a user without privileges
};

class System {
 public:
  virtual ~System() = default;

  /// The whole of a small file (at most 16 MiB are read); nothing when it can't be read.
  virtual std::optional<std::string> read_file(const std::string& path) = 0;
  /// The names in a folder, sorted, without "." and ".."; empty when it can't be listed.
  virtual std::vector<std::string> list_folder(const std::string& path) = 0;
  /// Where a symbolic link points, as it is written in it.
  virtual std::optional<std::string> read_link(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  /// An environment variable: absent when unset, "" when set and empty.
  virtual std::optional<std::string> environment(const std::string& name) = 0;
  /// Of the file system that holds `path`.
  virtual std::optional<DiskSpace> disk_space(const std::string& path) = 0;
  virtual std::string current_folder() = 0;
  virtual std::int64_t process_id() = 0;

  /// Loads NVIDIA's management library, without starting it. The error says where it was looked for.
  virtual Result<std::unique_ptr<Nvml>> open_nvml() = 0;
};

/// This machine.
class RealSystem : public System {
 public:
  std::optional<std::string> read_file(const std::string& path) override;
  std::vector<std::string> list_folder(const std::string& path) override;
  std::optional<std::string> read_link(const std::string& path) override;
  bool exists(const std::string& path) override;
  std::optional<std::string> environment(const std::string& name) override;
  std::optional<DiskSpace> disk_space(const std::string& path) override;
  std::string current_folder() override;
  std::int64_t process_id() override;
  Result<std::unique_ptr<Nvml>> open_nvml() override;
};

/// The last part of a path: "nvidia" of "../../bus/pci/drivers/nvidia".
std::string path_tail(const std::string& path);

/// A file that holds one number: decimal, or hexadecimal after "0x". Nothing for anything else ("max", "N/A").
std::optional<std::int64_t> read_number(System& system, const std::string& path);

/// A file's first line without the spaces around it; nothing when unreadable or empty.
std::optional<std::string> read_line(System& system, const std::string& path);

}  // namespace vramwise

// A small library that is loaded into the program: large writes of zeros to files become holes.
//
// Checkpoints of a dry run are zeros, as nothing was computed, and they may be larger than the disk has room for. A
// hole reads the same and takes neither room nor time. Only the end of a regular file is extended this way; everything
// else is the C library's own call. Writes inside of the C library (stdio) do not pass here.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace {

constexpr std::size_t kLarge = std::size_t{1} << 20;  // smaller ones are left alone
constexpr std::size_t kPiece = std::size_t{1} << 16;

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

ssize_t real_pwrite(int file, const void* bytes, std::size_t count, off_t offset) {
  static const auto kFunction = next<ssize_t (*)(int, const void*, std::size_t, off_t)>("pwrite");
  return kFunction(file, bytes, count, offset);
}

bool is_zero(const char* bytes, std::size_t count) {
  return count == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, count - 1) == 0);
}

/// How many bytes from the beginning are all zeros, or all not skippable, in whole pieces (the last may be shorter).
std::size_t run_length(const char* bytes, std::size_t count, bool zeros) {
  std::size_t length = 0;
  while (length < count) {
    const std::size_t piece = std::min(kPiece, count - length);
    if (is_zero(bytes + length, piece) != zeros) break;
    length += piece;
  }
  return length;
}

/// The size of a regular file, or -1.
off_t size_of(int file) {
  struct stat status = {};
  return fstat(file, &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : -1;
}

/// Writes at `offset`, which is at or beyond the end of the file. As write: the count, or -1 where nothing was written.
ssize_t write_with_holes(int file, const char* bytes, std::size_t count, off_t offset) {
  std::size_t done = 0;
  while (done < count) {
    const off_t at = offset + static_cast<off_t>(done);
    if (const std::size_t zeros = run_length(bytes + done, count - done, true); zeros > 0) {
      if (ftruncate(file, at + static_cast<off_t>(zeros)) != 0) break;
      done += zeros;
      continue;
    }
    const std::size_t others = run_length(bytes + done, count - done, false);
    const ssize_t written = real_pwrite(file, bytes + done, others, at);
    if (written <= 0) break;
    done += static_cast<std::size_t>(written);
  }
  return done > 0 || count == 0 ? static_cast<ssize_t>(done) : -1;
}

/// Where a write of this size at the file's own position may leave holes; -1: nowhere.
off_t holes_from(int file, std::size_t count) {
  if (count < kLarge) return -1;
  const int error_number = errno;
  const off_t size = size_of(file);
  const int flags = size < 0 ? 0 : fcntl(file, F_GETFL);
  // pwrite to a file opened for appending ignores the offset (open(2), BUGS).
  const off_t position = size < 0 || (flags & O_APPEND) != 0 ? -1 : lseek(file, 0, SEEK_CUR);
  errno = error_number;
  return size >= 0 && position >= size ? position : -1;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) ssize_t write(int file, const void* bytes, std::size_t count) {
  const off_t position = holes_from(file, count);
  if (position < 0) {
    static const auto kFunction = next<ssize_t (*)(int, const void*, std::size_t)>("write");
    return kFunction(file, bytes, count);
  }
  const ssize_t written = write_with_holes(file, static_cast<const char*>(bytes), count, position);
  if (written > 0) lseek(file, position + written, SEEK_SET);
  return written;
}

__attribute__((visibility("default"))) ssize_t writev(int file, const iovec* parts, int count) {
  std::size_t sum = 0;
  for (int i = 0; i < count; ++i) sum += parts[i].iov_len;
  if (holes_from(file, sum) < 0) {
    static const auto kFunction = next<ssize_t (*)(int, const iovec*, int)>("writev");
    return kFunction(file, parts, count);
  }
  ssize_t done = 0;
  for (int i = 0; i < count; ++i) {
    const ssize_t written = write(file, parts[i].iov_base, parts[i].iov_len);
    if (written < 0) return done > 0 ? done : -1;
    done += written;
    if (static_cast<std::size_t>(written) < parts[i].iov_len) break;
  }
  return done;
}

__attribute__((visibility("default"))) ssize_t pwrite(int file, const void* bytes, std::size_t count, off_t offset) {
  const bool extends =
      count >= kLarge && size_of(file) >= 0 && offset >= size_of(file) && (fcntl(file, F_GETFL) & O_APPEND) == 0;
  return extends ? write_with_holes(file, static_cast<const char*>(bytes), count, offset)
                 : real_pwrite(file, bytes, count, offset);
}

__attribute__((visibility("default"))) ssize_t pwrite64(int file, const void* bytes, std::size_t count, off_t offset) {
  return pwrite(file, bytes, count, offset);
}

}  // extern "C"

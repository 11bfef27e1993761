// A small coverage-guided fuzzer for programs with LLVMFuzzerTestOneInput: gcc has the instrumentation
// (-fsanitize-coverage=trace-pc) but no libFuzzer. Where clang brings its own, that is linked instead (CMakeLists.txt).
//
//   fuzz_NAME [--seconds N] [--runs N] [--seed N] [--keep FOLDER] [FILE|FOLDER]…
//
// Runs every given file once, then changed ones (none without --seconds or --runs). Inputs that reach new code are kept
// and changed further. What makes the program die is written to crash-NNNN in the working folder.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace {

constexpr unsigned kMapBits = 16;
constexpr std::size_t kLongestInput = 1 << 16;
constexpr unsigned kSecondsPerInput = 20;

// What the instrumented code has passed in this run, and in all runs: pairs of places, hashed.
std::array<std::uint8_t, 1U << kMapBits> passed;
std::array<std::uint8_t, 1U << kMapBits> ever_passed;
bool recording = false;
std::uintptr_t last_place = 0;
std::string current_input;

}  // namespace

// Called by the compiler's instrumentation at every edge.
extern "C" __attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc() {
  if (!recording) return;
  recording = false;  // what is called here is instrumented too
  const auto place = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  const std::uintptr_t mixed = (place ^ last_place << 1) * 0x9e3779b97f4a7c15;
  last_place = place;
  std::uint8_t& count = passed[mixed >> (64 - kMapBits)];
  if (count < 255) ++count;
  recording = true;
}

namespace {

void save_current_input() {
  recording = false;
  const std::string name = fmt::format("crash-{:04x}", std::hash<std::string>()(current_input) & 0xffff);
  std::ofstream(name, std::ios::binary) << current_input;
  std::fprintf(stderr, "the input is in %s (%zu bytes)\n", name.c_str(), current_input.size());
}

void on_signal(int number) {
  if (number == SIGALRM) std::fprintf(stderr, "one input takes more than %u s\n", kSecondsPerInput);
  save_current_input();
  std::signal(number, SIG_DFL);
  if (number == SIGALRM) _exit(1);
  std::raise(number);
}

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Settings {
  double seconds = 0;
  std::uint64_t runs = 0;
  std::uint64_t seed = std::random_device{}();
  std::string keep;
  std::vector<std::string> inputs;
};

Settings settings_of(int argc, char** argv) {
  Settings settings;
  const auto add = [&](const std::filesystem::path& path) {
    if (!std::filesystem::is_directory(path)) return settings.inputs.push_back(contents(path));
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.is_regular_file()) settings.inputs.push_back(contents(entry.path()));
  };
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (!word.starts_with("--")) {
      add(word);
      continue;
    }
    ++i;
    if (word == "--seconds") settings.seconds = std::strtod(value, nullptr);
    if (word == "--runs") settings.runs = std::strtoull(value, nullptr, 10);
    if (word == "--seed") settings.seed = std::strtoull(value, nullptr, 10);
    if (word == "--keep") settings.keep = value;
  }
  std::ranges::sort(settings.inputs);
  return settings;
}

class Fuzzer {
 public:
  explicit Fuzzer(const Settings& settings) : settings_(settings), random_(settings.seed) {}

  void run() {
    for (const std::string& input : settings_.inputs) try_input(input);
    const std::size_t given = corpus_.size();
    if (corpus_.empty()) corpus_.emplace_back();
    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    while ((settings_.seconds > 0 && seconds() < settings_.seconds) || changed_ < settings_.runs) {
      try_input(changed());
      ++changed_;
    }
    fmt::print("{} given inputs, {} changed ones in {:.0f} s (seed {}): {} reached new code, nothing failed\n",
               settings_.inputs.size(), changed_, seconds(), settings_.seed,
               corpus_.size() - std::min(given, corpus_.size()));
  }

 private:
  std::size_t below(std::size_t end) { return random_() % end; }

  void try_input(const std::string& input) {
    current_input = input;
    passed.fill(0);
    last_place = 0;
    alarm(kSecondsPerInput);
    recording = true;
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    recording = false;
    alarm(0);
    if (!is_new()) return;
    corpus_.push_back(input);
    if (settings_.keep.empty()) return;
    std::filesystem::create_directories(settings_.keep);
    std::ofstream(fmt::format("{}/{:016x}", settings_.keep, std::hash<std::string>()(input)), std::ios::binary)
        << input;
  }

  /// Whether the last run passed somewhere new, or eight times as often as ever.
  static bool is_new() {
    bool found = false;
    for (std::size_t i = 0; i < passed.size(); ++i) {
      // Most of the map is empty: eight places at a time.
      if (i % 8 == 0 && std::all_of(&passed[i], &passed[i] + 8, [](std::uint8_t count) { return count == 0; })) {
        i += 7;
        continue;
      }
      if (passed[i] == 0) continue;
      const std::uint8_t magnitude = passed[i] < 8 ? 1 : passed[i] < 64 ? 2 : 4;
      found = found || (ever_passed[i] & magnitude) == 0;
      ever_passed[i] |= magnitude;
    }
    return found;
  }

  std::string changed() {
    std::string input = corpus_[below(corpus_.size())];
    for (std::size_t i = 0; i <= below(4); ++i) change(input);
    if (input.size() > kLongestInput) input.resize(kLongestInput);
    return input;
  }

  void change(std::string& input) {
    const std::size_t at = input.empty() ? 0 : below(input.size());
    const std::size_t length = input.empty() ? 0 : 1 + below(std::min<std::size_t>(input.size() - at, 64));
    switch (input.empty() ? 4 : below(8)) {
      case 0:
        input[at] = static_cast<char>(random_());
        break;
      case 1:
        input[at] = static_cast<char>(input[at] ^ 1 << below(8));
        break;
      case 2:
        input.erase(at, length);
        break;
      case 3:
        input.insert(at, input.substr(below(input.size()), length));
        break;
      case 4: {
        const std::string& other = corpus_[below(corpus_.size())];
        if (!other.empty()) input.insert(at, other.substr(below(other.size()), 1 + below(128)));
        break;
      }
      case 5: {
        static constexpr std::array<std::int64_t, 8> kEdges = {0, 1, -1, 127, 255, 65535, INT32_MAX, INT64_MAX};
        const std::int64_t edge = kEdges[below(kEdges.size())];
        const std::size_t width = std::min(input.size() - at, std::size_t{1} << below(4));
        for (std::size_t i = 0; i < width; ++i) input[at + i] = static_cast<char>(edge >> (8 * i));
        break;
      }
      case 6: {
        const std::string number = std::to_string(static_cast<std::int64_t>(random_()) >> below(64));
        input.insert(at, number);
        break;
      }
      default:
        input[at] = static_cast<char>(input[at] + (below(2) == 0 ? 1 : -1));
    }
  }

  const Settings& settings_;
  std::mt19937_64 random_;
  std::vector<std::string> corpus_;
  std::uint64_t changed_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  for (const int number : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGALRM}) std::signal(number, on_signal);
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(save_current_input);
  const Settings settings = settings_of(argc, argv);
  Fuzzer(settings).run();
  return 0;
}

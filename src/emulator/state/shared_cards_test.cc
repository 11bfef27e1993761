#include "emulator/state/shared_cards.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "emulator/state/device_ledger.h"

namespace vramwise::emulator {
namespace {

class SharedCardsTest : public testing::Test {
 protected:
  SharedCardsTest() {
    char name[] = "/tmp/shared-cards-XXXXXX";
    folder_ = mkdtemp(name);
    path_ = folder_ + "/cards";
  }
  ~SharedCardsTest() override { std::filesystem::remove_all(folder_); }

  /// A process of its own that holds so much of a card and says so; it ends when it is told to, or is killed.
  class Other {
   public:
    Other(const std::string& path, int card, Bytes live) {
      int ready[2] = {};
      EXPECT_EQ(pipe(ready), 0);
      process_ = fork();
      if (process_ == 0) {
        const auto cards = SharedCards::open(path);
        const char held = cards != nullptr && cards->hold(card, live, Bytes::mib(100)) ? 'y' : 'n';
        if (write(ready[1], &held, 1) != 1) _exit(1);
        for (;;) pause();
      }
      EXPECT_EQ(read(ready[0], &held_, 1), 1);
      close(ready[0]);
      close(ready[1]);
    }
    Other(const Other&) = delete;
    Other& operator=(const Other&) = delete;
    ~Other() { kill_it(); }
    bool held() const { return held_ == 'y'; }
    void kill_it() {
      if (process_ <= 0) return;
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
      process_ = 0;
    }

   private:
    pid_t process_ = 0;
    char held_ = 0;
  };

  std::string folder_, path_;
};

TEST_F(SharedCardsTest, OneProcessSeesWhatAnotherHoldsUntilItIsKilled) {
  const auto cards = SharedCards::open(path_);
  ASSERT_NE(cards, nullptr);
  EXPECT_EQ(cards->others(3), Bytes(0));
  ASSERT_TRUE(cards->hold(3, Bytes::mib(50), Bytes::mib(100)));
  Other other(path_, 3, Bytes::mib(30));
  ASSERT_TRUE(other.held());
  EXPECT_EQ(cards->others(3), Bytes::mib(30));
  EXPECT_EQ(cards->others(2), Bytes(0)) << "of that card only";
  EXPECT_FALSE(cards->hold(3, Bytes::mib(72), Bytes::mib(100)));
  EXPECT_TRUE(cards->hold(3, Bytes::mib(70), Bytes::mib(100)));
  Other too_much(path_, 3, Bytes::mib(2));
  EXPECT_FALSE(too_much.held());
  EXPECT_EQ(cards->peak(3), Bytes::mib(100));
  other.kill_it();
  EXPECT_EQ(cards->others(3), Bytes(0));
  EXPECT_TRUE(cards->hold(3, Bytes::mib(90), Bytes::mib(100)));
  EXPECT_EQ(cards->peak(3), Bytes::mib(100));
}

TEST_F(SharedCardsTest, GivingBackIsNeverRefused) {
  const auto cards = SharedCards::open(path_);
  ASSERT_TRUE(cards->hold(0, Bytes::mib(50), Bytes::mib(100)));
  EXPECT_TRUE(cards->hold(0, Bytes::mib(40), Bytes::mib(10)));
}

TEST_F(SharedCardsTest, AProcessThatCallsItAgainHasItsOwnRow) {
  const auto cards = SharedCards::open(path_);
  ASSERT_TRUE(cards->hold(0, Bytes::mib(50), Bytes::mib(100)));
  const auto again = SharedCards::open(path_);  // as after exec
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->others(0), Bytes(0));
}

TEST_F(SharedCardsTest, WithoutAFolderThereIsNone) { EXPECT_EQ(SharedCards::open(folder_ + "/no/cards"), nullptr); }

TEST_F(SharedCardsTest, ALedgerRefusesWhatTheOthersHold) {
  const auto cards = SharedCards::open(path_);
  DeviceLedger ledger(Bytes::mib(100), Bytes::mib(10));
  ledger.share({.cards = cards.get(), .card = 1});
  ASSERT_TRUE(ledger.take(Bytes::mib(20), {1, 0}));
  Other other(path_, 1, Bytes::mib(40));
  ASSERT_TRUE(other.held());
  EXPECT_EQ(ledger.free(), Bytes::mib(30));
  EXPECT_FALSE(ledger.take(Bytes::mib(32), {2, 0}));
  EXPECT_EQ(ledger.out_of_memory_events().at(0).free, Bytes::mib(30));
  EXPECT_TRUE(ledger.take(Bytes::mib(30), {3, 0}));
  EXPECT_EQ(ledger.together_peak(), Bytes::mib(90));
  ledger.give_back(Bytes::mib(30));
  EXPECT_EQ(ledger.free(), Bytes::mib(30));
  EXPECT_EQ(ledger.peak(), Bytes::mib(50)) << "its own";
}

}  // namespace
}  // namespace vramwise::emulator

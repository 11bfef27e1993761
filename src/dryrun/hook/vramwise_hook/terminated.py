"""A program that is asked to end (SIGTERM, of `timeout` for instance) tells first what it took until then."""

import os
import signal
import threading

from .harmless import harmless


@harmless
def follow(write):
    """Only where the program leaves that signal as Python found it; a handler of its own replaces this one."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def end(number, _frame):
        signal.signal(number, signal.SIG_IGN)  # `timeout` sends it twice: to vramwise, and to all of the group
        harmless(write)()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def as_before():
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, end)
    os.register_at_fork(after_in_child=as_before)  # a forked worker has nothing to tell

"""Ends of a program that run no exit handlers: SIGTERM, of `timeout` for instance, and os._exit, by which every child
ends that multiprocessing forks. What it took until then is told first.
"""

import functools
import os
import signal
import threading

from .harmless import harmless


def follow_exit(write):
    original = os._exit

    @functools.wraps(original)
    def exit_at_once(status):
        harmless(write)()
        original(status)

    os._exit = exit_at_once


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
    os.register_at_fork(after_in_child=as_before)

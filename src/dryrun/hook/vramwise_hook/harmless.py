"""An error of ours is told once, and never becomes the program's."""

import functools
import sys

_told = set()


def harmless(function):
    @functools.wraps(function)
    def guarded(*arguments, **options):
        try:
            return function(*arguments, **options)
        except Exception as error:
            text = f"vramwise: {function.__qualname__} failed in this program: {error!r}"
            if text not in _told:
                _told.add(text)
                print(text, file=sys.stderr)
            return None

    return guarded

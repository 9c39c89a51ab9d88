"""What the tests do with a page, whichever browser shows it."""

import json
import os
import shutil
import time
from pathlib import Path


def find_program(variable: str, names):
    """The first program that is there, the one that a variable names before the others, or None."""
    return next(filter(None, map(shutil.which, (os.environ.get(variable, ''), *names))), None)


class BasePage:
    """A page in a browser of its own.

    A browser has ``find`` for its program, and ``open``, ``js``, ``press``, ``move``, ``key``,
    ``type``, ``screenshot``, ``download_to``, ``problems``, ``forget`` and ``close``.
    """

    def frames(self, count=3):
        """Let the page draw."""
        step = 'new Promise((done) => requestAnimationFrame(done))'
        for _ in range(count):
            self.js(step)

    def click(self, selector):
        """Click in the middle of an element."""
        x, y = self.js(
            f'(() => {{ const e = document.querySelector({json.dumps(selector)});'
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            'const b = e.getBoundingClientRect();'
            'return [b.x + b.width / 2, b.y + b.height / 2]; })()'
        )
        self.frames(1)
        self.press(x, y)
        self.frames(1)

    def fill(self, selector, text):
        """Type a text into a field in place of what is in it, and leave it."""
        self.click(selector)
        self.js(f'document.querySelector({json.dumps(selector)}).select()')
        self.type(text)
        self.key('Tab')

    def downloads(self, folder, count=1, seconds=20):
        """Contents of the files that the page saved into the folder it was told."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            # Firefox writes an empty file first.
            files = [path for path in Path(folder).glob('*.json') if path.stat().st_size]
            if len(files) >= count:
                return {path.name: json.loads(path.read_text()) for path in files}
            self.frames(5)
        raise TimeoutError(f'{folder} has no {count} files')

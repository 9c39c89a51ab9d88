"""Chromium by its debugging protocol over a pipe: no driver and no package needed."""

import base64
import json
import os
import select
import subprocess
from pathlib import Path

from page import BasePage, find_program

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')

KEYS = dict(Tab=9, Enter=13, Escape=27, ArrowLeft=37, ArrowUp=38, ArrowRight=39, ArrowDown=40)


class Page(BasePage):
    """A page in a Chromium of its own.

    ``events`` has all that the browser told: console, errors, requests.
    """

    def __init__(self, folder: Path):
        self.events = []
        self._number = 0
        self._rest = b''
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # The browser reads commands from descriptor 3 and writes to 4.
        command = (
            f'exec 3<&{to_read} 4>&{to_write}; exec "$0" --headless --no-sandbox --disable-gpu '
            '--remote-debugging-pipe --no-first-run --disable-extensions '
            '--disable-background-networking --disable-component-update '
            f'--user-data-dir="{folder}/profile" about:blank'
        )
        self._process = subprocess.Popen(
            ['bash', '-c', command, self.find()],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._session = None
        targets = self.call('Target.getTargets')['targetInfos']
        target = next(t['targetId'] for t in targets if t['type'] == 'page')
        attached = self.call('Target.attachToTarget', targetId=target, flatten=True)
        self._session = attached['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    @staticmethod
    def find():
        """The program, also as CHROMIUM names it; None if there is none."""
        return find_program('CHROMIUM', NAMES)

    def close(self):
        self._process.terminate()
        self._process.wait(20)
        os.close(self._write)
        os.close(self._read)

    def call(self, method, **params):
        """A command of the protocol; its answer."""
        self._number += 1
        message = dict(id=self._number, method=method, params=params)
        if self._session and not method.startswith(('Target.', 'Browser.')):
            message['sessionId'] = self._session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._message()
            if answer.get('id') == self._number:
                assert 'error' not in answer, (method, answer['error'])
                return answer['result']
            self.events.append(answer)

    def wait_for(self, method):
        """The next event of a kind."""
        while True:
            event = self._message()
            self.events.append(event)
            if event.get('method') == method:
                return event['params']

    def _message(self):
        while b'\0' not in self._rest:
            if not select.select([self._read], [], [], 60)[0]:
                raise TimeoutError('the browser has said nothing for a minute')
            data = os.read(self._read, 1 << 16)
            if not data:
                raise ConnectionError('the browser has ended')
            self._rest += data
        message, self._rest = self._rest.split(b'\0', 1)
        return json.loads(message)

    def open(self, path, width=1280, height=900, dark=False):
        """Open a file in a window of a size."""
        scheme = dict(name='prefers-color-scheme', value='dark' if dark else 'light')
        self.call('Emulation.setEmulatedMedia', features=[scheme])
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.forget()
        self.call('Page.navigate', url=Path(path).resolve().as_uri())
        self.wait_for('Page.loadEventFired')
        self.frames()

    def js(self, expression):
        """The value of an expression; promises are waited for."""
        answer = self.call(
            'Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True
        )
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def press(self, x, y):
        """Click at a place of the window."""
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def move(self, x, y):
        """Move the mouse to a place of the window."""
        self.call('Input.dispatchMouseEvent', type='mouseMoved', x=x, y=y)

    def key(self, key):
        """Press a key, such as Tab or ArrowLeft."""
        more = dict(text='\r') if key == 'Enter' else {}
        for kind in ('keyDown', 'keyUp'):
            self.call(
                'Input.dispatchKeyEvent', type=kind, key=key, code=key,
                windowsVirtualKeyCode=KEYS[key], **(more if kind == 'keyDown' else {}),
            )  # fmt: skip
        self.frames(1)

    def type(self, text):
        """Type a text where the focus is."""
        self.call('Input.insertText', text=text)

    def screenshot(self, path, whole=True):
        """Write a picture of the page."""
        if whole:
            height = self.js('document.documentElement.scrollHeight')
            width = self.js('document.documentElement.clientWidth')
            self.call(
                'Emulation.setDeviceMetricsOverride',
                width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
            )  # fmt: skip
            self.frames(10)
        answer = self.call('Page.captureScreenshot', format='png')
        Path(path).write_bytes(base64.b64decode(answer['data']))

    def download_to(self, folder):
        """Save what is downloaded from now on into a folder, without asking."""
        self.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=str(folder))

    def problems(self):
        """What the console and the log of the browser said, and requests that left the file."""
        found = []
        for event in self.events:
            method, params = event.get('method'), event.get('params', {})
            if method == 'Runtime.exceptionThrown':
                found.append(params['exceptionDetails'])
            elif method == 'Runtime.consoleAPICalled':
                found.append(params['args'])
            elif method == 'Log.entryAdded':
                found.append(params['entry'])
            elif method == 'Network.requestWillBeSent':
                url = params['request']['url']
                if not url.startswith(('file:', 'data:', 'blob:')):
                    found.append(url)
        return found

    def forget(self):
        """Forget the problems there were."""
        self.events.clear()

"""Firefox by Marionette, its own protocol: no driver and no package needed."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from page import BasePage, find_program

# As WebDriver calls them.
KEYS = dict(
    Tab='\ue004', Enter='\ue007', Escape='\ue00c',
    ArrowLeft='\ue012', ArrowUp='\ue013', ArrowRight='\ue014', ArrowDown='\ue015',
)  # fmt: skip

# What Marionette does not set by itself.
PREFERENCES = {
    'marionette.port': 0,  # one that is free
    'app.normandy.enabled': False,
    'browser.aboutwelcome.enabled': False,
    'browser.download.alwaysOpenPanel': False,
    'browser.download.always_ask_before_handling_new_types': False,
    'browser.download.folderList': 2,
    'browser.download.useDownloadDir': True,
    'browser.startup.page': 0,
    'media.gmp-manager.updateEnabled': False,
    'network.captive-portal-service.enabled': False,
    # What the browser itself still asks of the network goes to a proxy that nobody runs.
    'network.proxy.type': 1,
    'network.proxy.http': '127.0.0.1',
    'network.proxy.http_port': 9,
    'network.proxy.ssl': '127.0.0.1',
    'network.proxy.ssl_port': 9,
    'network.proxy.failover_direct': False,
    'network.proxy.allow_bypass': False,
    'toolkit.telemetry.enabled': False,
    'toolkit.telemetry.unified': False,
    'trailhead.firstrun.didSeeAboutWelcome': True,
}

ENVIRONMENT = dict(
    # The largest window that the tests ask for, and what stands around it.
    MOZ_HEADLESS_WIDTH='1400',
    MOZ_HEADLESS_HEIGHT='1200',
    MOZ_CRASHREPORTER_DISABLE='1',
    # As Chromium's --no-sandbox: in a container there may be no room for a sandbox.
    MOZ_DISABLE_CONTENT_SANDBOX='1',
    MOZ_DISABLE_SOCKET_PROCESS_SANDBOX='1',
    MOZ_DISABLE_RDD_SANDBOX='1',
)

# Requests of pages, not those of the browser itself. Files, data: and blob: are none of HTTP's.
WATCH_REQUESTS = """
window.requestsOfPages = [];
Services.obs.addObserver((channel) => {
  channel.QueryInterface(Ci.nsIChannel);
  if (!channel.loadInfo.triggeringPrincipal.isSystemPrincipal) {
    window.requestsOfPages.push(channel.URI.spec);
  }
}, 'http-on-modify-request');
"""

# What is run with the rights of the browser in the process that shows the page. Its own modules
# speak there, too, say of an icon without pixels.
CONSOLE = """
const ofPage = (source) => !/^(resource|chrome):/.test(source ?? '');
const ScriptError = Components.interfaces.nsIScriptError;
const storage = Components.classes['@mozilla.org/consoleAPI-storage;1']
  .getService(Components.interfaces.nsIConsoleAPIStorage);
return [
  ...storage.getEvents().filter((event) => ofPage(event.filename))
    .map((event) => `${event.level}: ${Array.from(event.arguments, String)}`),
  ...Services.console.getMessageArray()
    .filter((message) => !(message instanceof ScriptError) || ofPage(message.sourceName))
    .map((message) => message.message),
];
"""
TYPE = "window.windowUtils.sendContentCommandEvent('insertText', null, arguments[0]);"
FORGET = """
Components.classes['@mozilla.org/consoleAPI-storage;1']
  .getService(Components.interfaces.nsIConsoleAPIStorage).clearEvents();
Services.console.reset();
"""

# No window can be as narrow as a phone, but the page in it can: WebDriver BiDi's setViewport does
# the same. As on a phone, <meta name="viewport"> then counts and scrollbars take no room.
VIEW = """
const [width, height, scheme] = arguments;
const browser = gBrowser.selectedBrowser;
Services.prefs.setBoolPref('dom.meta-viewport.enabled', width < 600);
Services.prefs.setIntPref('ui.useOverlayScrollbars', width < 600 ? 1 : 0);
browser.style.width = `${width}px`;
browser.style.height = `${height}px`;
browser.browsingContext.prefersColorSchemeOverride = scheme;
"""


class Page(BasePage):
    """A page in a Firefox of its own."""

    def __init__(self, folder: Path):
        profile = folder / 'profile'
        profile.mkdir(parents=True)
        lines = (f'user_pref("{k}", {json.dumps(v)});\n' for k, v in PREFERENCES.items())
        (profile / 'user.js').write_text(''.join(lines))
        self._number = 0
        self._rest = b''
        options = ('--headless', '--marionette', '--remote-allow-system-access', '--no-remote')
        self._process = subprocess.Popen(
            [self.find(), *options, '--profile', str(profile)],
            env=dict(os.environ, HOME=str(folder), **ENVIRONMENT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._socket = self._connect(profile / 'MarionetteActivePort')
            self._message()
            self.call('WebDriver:NewSession')
            self.call('WebDriver:SetWindowRect', x=0, y=0, width=1400, height=1200)
            self.chrome(WATCH_REQUESTS)
        except BaseException:
            self._kill()
            raise

    @staticmethod
    def find():
        """The program, also as FIREFOX names it; None if there is none."""
        return find_program('FIREFOX', ('firefox-esr', 'firefox'))

    def _connect(self, port, seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise ConnectionError('the browser has ended')
            if port.exists() and port.read_text():
                return socket.create_connection(('127.0.0.1', int(port.read_text())), 60)
            time.sleep(0.05)
        raise TimeoutError(f'the browser does not listen after {seconds} seconds')

    def close(self):
        self._socket.close()
        self._kill()

    def _kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(20)

    def call(self, command, **params):
        """A command of the protocol; its answer."""
        self._number += 1
        message = json.dumps([0, self._number, command, params]).encode()
        self._socket.sendall(b'%d:%s' % (len(message), message))
        kind, number, error, answer = self._message()
        assert (kind, number) == (1, self._number)
        assert error is None, (command, error)
        return answer

    def _message(self):
        def more():
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError('the browser has ended')
            return data

        while b':' not in self._rest:
            self._rest += more()
        length, self._rest = self._rest.split(b':', 1)
        while len(self._rest) < int(length):
            self._rest += more()
        message, self._rest = self._rest[: int(length)], self._rest[int(length) :]
        return json.loads(message)

    def js(self, expression):
        """The value of an expression; promises are waited for."""
        return self._run(f'return ({expression}\n);')

    def chrome(self, script, *args):
        """Run a script in the browser's own window."""
        self.call('Marionette:SetContext', value='chrome')
        try:
            return self._run(script, *args)
        finally:
            self.call('Marionette:SetContext', value='content')

    def _run(self, script, *args, sandbox=None):
        answer = self.call('WebDriver:ExecuteScript', script=script, args=args, sandbox=sandbox)
        return answer['value']

    def open(self, path, width=1280, height=900, dark=False):
        """Open a file in a window of a size."""
        self.chrome(VIEW, width, height, 'dark' if dark else 'light')
        self.forget()
        self.call('WebDriver:Navigate', url=Path(path).resolve().as_uri())
        self.frames()

    def press(self, x, y):
        """Click at a place of the window."""
        press = [dict(type=kind, button=0) for kind in ('pointerDown', 'pointerUp')]
        self._act('pointer', self._to(x, y), *press)

    def move(self, x, y):
        """Move the mouse to a place of the window."""
        self._act('pointer', self._to(x, y))

    def key(self, key):
        """Press a key, such as Tab or ArrowLeft."""
        self._act('key', *(dict(type=kind, value=KEYS[key]) for kind in ('keyDown', 'keyUp')))
        self.frames(1)

    def type(self, text):
        """Type a text where the focus is, all at once."""
        self._run(TYPE, text, sandbox='system')

    @staticmethod
    def _to(x, y):
        return dict(type='pointerMove', x=round(x), y=round(y), duration=0)

    def _act(self, device, *actions):
        self.call(
            'WebDriver:PerformActions', actions=[dict(type=device, id=device, actions=actions)]
        )

    def screenshot(self, path, whole=True):
        """Write a picture of the page."""
        if whole:
            height = self.js('document.documentElement.scrollHeight')
            self.chrome('gBrowser.selectedBrowser.style.height = arguments[0]', f'{height}px')
            self.frames(10)
        answer = self.call('WebDriver:TakeScreenshot', full=False, hash=False)
        Path(path).write_bytes(base64.b64decode(answer['value']))

    def download_to(self, folder):
        """Save what is downloaded from now on into a folder, without asking."""
        self.chrome(
            "Services.prefs.setStringPref('browser.download.dir', arguments[0])", str(folder)
        )

    def problems(self):
        """What the console of the page said, and requests that left the file."""
        self.frames(1)
        said = self._run(CONSOLE, sandbox='system')
        return said + self.chrome('return window.requestsOfPages')

    def forget(self):
        """Forget the problems there were."""
        self._run(FORGET, sandbox='system')
        self.chrome('window.requestsOfPages.length = 0')

"""JupyterLab and headless Chromium for tests of widgets: Chromium is driven by its DevTools protocol, so no driver is
needed."""
import base64, io, json, os, secrets, shutil, socket, subprocess, sys, time, urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
import nbformat, websocket
from PIL import Image
from jupyter_client import BlockingKernelClient

PATIENCE = 90      # seconds that anything may take on a busy machine
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage --hide-scrollbars --mute-audio
--remote-allow-origins=* --remote-debugging-port=0
--window-size=1400,1240 --screen-info={1400x1240}""".split()


def chromium():
    "Path of Chromium or Chrome, or None."
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def wait(ready, what, seconds=PATIENCE):
    "The first true value of `ready()`."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := ready(): return value
        time.sleep(.05)
    raise TimeoutError(f"waited {seconds} s for {what}")


@contextmanager
def process(command, log, **options):
    "A process of its own group that is ended with all its children."
    with open(log, "wb") as out:
        started = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True, **options)
    try: yield started
    finally:
        for signal in (15, 9):
            try: os.killpg(started.pid, signal)
            except ProcessLookupError: break
            try: started.wait(10)
            except subprocess.TimeoutExpired: pass


class Tab:
    "A page of Chromium."
    def __init__(self, url):
        self.socket, self.asked, self.console = websocket.create_connection(url, timeout=PATIENCE), 0, []
        self.call("Runtime.enable")

    def call(self, method, **params):
        self.asked += 1
        self.socket.send(json.dumps(dict(id=self.asked, method=method, params=params)))
        while (answer := json.loads(self.socket.recv())).get("id") != self.asked:
            if answer["method"] == "Runtime.exceptionThrown" or answer[
                "method"] == "Runtime.consoleAPICalled" and answer["params"]["type"] == "error":
                self.console.append(json.dumps(answer["params"]))
        if "error" in answer: raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def js(self, expression):
        "Value of a JavaScript expression; promises are awaited."
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
                           userGesture=True)
        if "exceptionDetails" in result: raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, expression, seconds=PATIENCE): return wait(lambda: self.js(expression), expression, seconds)

    def reload(self):
        "Load the page anew and wait until the old one is gone."
        self.js("window.old = true")
        self.call("Page.reload")
        def fresh():
            try: return self.js("!window.old")
            except RuntimeError: return False       # between the pages
        wait(fresh, "the page")

    def key(self, key, repeats=0, held=False, up=True):
        """Press a key (a character, or Escape, Enter, Tab), hold it for some repetitions, let it go; `held`: it was
        down already."""
        code = {" ": 32, "Escape": 27, "Enter": 13, "Tab": 9}.get(key) or ord(key.upper())
        name = ({" ": "Space"}.get(key) or (f"Digit{key}" if key.isdigit() else f"Key{key.upper()}" if len(key) == 1
                                            else key))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        press = dict(key=key, code=name, windowsVirtualKeyCode=code)
        for k in range(1 + repeats):
            self.call("Input.dispatchKeyEvent", type="keyDown" if text
                      else "rawKeyDown", text=text, autoRepeat=held or k > 0, **press)
        if up: self.call("Input.dispatchKeyEvent", type="keyUp", **press)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def click_button(self, text, within="document"):
        "Click the button whose text begins with `text`, with the mouse."
        find = (f"[...{within}.querySelectorAll('button')].find(b => b.innerText.includes({text!r}) && "
                f"b.checkVisibility({{visibilityProperty: true}}) && !b.disabled)")
        self.until(f"!!({find})")
        self.click(*self.js(
            f"(() => {{ const b = {find}; b.scrollIntoView({{block: 'center'}}); const r = b.getBoundingClientRect(); "
            "return [r.x + r.width/2, r.y + r.height/2] })()"))

    def picture(self, **options):
        return Image.open(io.BytesIO(base64.b64decode(self.call("Page.captureScreenshot", **options)["data"])))


class Browser:
    "A running Chromium with an empty profile in `folder`."
    def __init__(self, folder, stack):
        profile, self.stack = Path(folder)/"profile", stack
        stack.enter_context(process([chromium(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                                    Path(folder)/"chromium.log"))
        port = wait(lambda: (f := profile/"DevToolsActivePort").exists() and f.read_text(), "Chromium").splitlines()[0]
        self.address = f"http://127.0.0.1:{port}/json"

    def tab(self, url):
        request = urllib.request.Request(f"{self.address}/new?{url}", method="PUT")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            tab = Tab(json.load(answer)["webSocketDebuggerUrl"])
        self.stack.callback(tab.socket.close)
        return tab


class Lab:
    "JupyterLab on localhost, serving `folder`; keeps no settings and reads none."
    def __init__(self, folder, stack):
        self.folder, self.token = Path(folder), secrets.token_hex(16)
        own = {f"JUPYTER{name}_DIR": str(self.folder/"jupyter"/name.lower())
               for name in ("_RUNTIME", "_CONFIG", "_DATA", "LAB_SETTINGS", "LAB_WORKSPACES")}
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        options = ["--no-browser", "--allow-root", "--expose-app-in-browser", f"--ServerApp.port={self.port}",
                   "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0",
                   f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={self.token}", "--LabApp.news_url=None",
                   "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                   "--LabApp.extension_manager=readonly"]
        env = os.environ | own | {"IPYTHONDIR": str(self.folder/"ipython")}
        stack.enter_context(process([sys.executable, "-m", "jupyterlab", *options], self.folder/"jupyter.log", env=env,
                                    cwd=folder))
        self.stack, self.runtime = stack, Path(own["JUPYTER_RUNTIME_DIR"])
        wait(self.answers, "JupyterLab")

    def answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api?token={self.token}", timeout=5) as answer:
                return answer.status == 200
        except OSError: return False

    def url(self, notebook): return f"http://127.0.0.1:{self.port}/lab/tree/{notebook}?token={self.token}&reset"

    def notebook(self, name, *cells):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells],
                                            metadata=dict(kernelspec=dict(display_name="Python 3", language="python",
                                                                          name="python3")))
        nbformat.write(notebook, self.folder/name)

    def kernel(self):
        "A second client of the newest kernel."
        file = max(self.runtime.glob("kernel-*.json"), key=lambda f: f.stat().st_mtime)
        client = BlockingKernelClient(connection_file=str(file))
        client.load_connection_file()
        client.start_channels()
        self.stack.callback(client.stop_channels)
        return client


def value(client, expression):
    "JSON value of a Python expression in the kernel."
    reply = client.execute("import json as _json", user_expressions={"v": f"_json.dumps({expression})"}, reply=True,
                           timeout=PATIENCE)
    found = reply["content"]["user_expressions"]["v"]
    if found["status"] != "ok": raise RuntimeError(f"{expression}: {found['ename']}: {found['evalue']}")
    return json.loads(eval(found["data"]["text/plain"]))


@contextmanager
def lab_and_browser(folder):
    with ExitStack() as stack: yield Lab(folder, stack), Browser(folder, stack)


def run_all(tab):
    "Run all cells of the notebook that JupyterLab shows, once its kernel is there."
    tab.until("typeof jupyterapp === 'object' && jupyterapp.restored.then(() => "
              "!!document.querySelector('.jp-Notebook'))")
    tab.until("jupyterapp.shell.currentWidget?.context?.isReady && "
              "jupyterapp.shell.currentWidget.context.sessionContext.isReady")
    tab.js("jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")


# A study on its stage

WATCH = """(() => { window.seen = []; const last = {};
  window.watcher?.disconnect();
  window.watcher = new MutationObserver(() => { for (const part of ["canvas", ".cross"]) {
    const element = document.querySelector(`.rbdm-study ${part}`), visible = element?.style.visibility === "visible";
    if (visible !== !!last[part]) seen.push([performance.now(), part, last[part] = visible]);
  } });
  watcher.observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ["style"]});
})()"""
STAGE = "document.querySelector('.rbdm-study')"
CELLS = ("JSON.stringify([...jupyterapp.shell.currentWidget.content.model.cells].map(c => [c.type, "
         "c.sharedModel.source]))")
def visible(part): return f"{STAGE}?.querySelector('{part}').style.visibility === 'visible'"
def card(text): return f"{STAGE}?.querySelector('.card').innerText.includes('{text}')"
def image(tab, n):
    tab.until(f"seen.filter(([, part, on]) => part === 'canvas' && on).length === {n} && {visible('canvas')}")


def open_stage(tab, button, view=0):
    "Click a button of the study's view until its stage is there: a click is lost where the page moves under it."
    place = f"document.querySelectorAll('.rbdm-view')[{view}]"
    def opened():
        tab.click_button(button, place)
        try: return tab.until(f"!!{STAGE}", 3)
        except TimeoutError: return False
    tab.until(f"!!{place}")
    wait(opened, "the stage")


def download(tab, folder):
    tab.click_button("Download", STAGE)
    found = lambda: [f for f in (folder/"downloads").glob("*.csv") if f.stat().st_size]
    file, = wait(found, "the download")
    return file.rename(folder/f"{time.time()}.csv")

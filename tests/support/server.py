"""Starts Funaya as a user would: by its command line, on a folder, until it says that it is ready."""
import ctypes
import os
import pathlib
import re
import select
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"
REGION = "us-east-1"
ACCESS_KEY = "AKIAFUNAYATESTROOT00"
SECRET_KEY = "funaya/test+root/secret/key/0123456789ab"
LIBC = ctypes.CDLL(None, use_errno=True)


def target_folder():
    """Where cargo builds to."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()


def program():
    """The program under test."""
    path = pathlib.Path(os.environ.get("FUNAYA_BIN") or target_folder() / "ci" / "funaya")
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `make program`, or name the program in FUNAYA_BIN")
    return str(path)


def bound_to_parent():
    """The kernel ends the child when its parent dies, however that dies."""
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Funaya:
    """One server on one data folder. It can be stopped and started again."""

    def __init__(self, data, *, listen="127.0.0.1:0", tls=None, suffix=None, env=None, log=None):
        self.data, self.listen, self.tls, self.suffix = pathlib.Path(data), listen, tls, suffix
        self.log = pathlib.Path(log or f"{data}.log")
        self.extra = dict(env or {})
        self.process, self.url = None, None

    def command(self):
        """The command line, by the contract of the product."""
        line = [program(), "serve", "--data", str(self.data), "--listen", self.listen, "--account", ACCOUNT,
                "--region", REGION]
        if self.suffix:
            line += ["--suffix", self.suffix]
        if self.tls:
            line += ["--tls-cert", str(self.tls[0]), "--tls-key", str(self.tls[1])]
        return line

    def environ(self):
        """Nothing of the user's own settings, and the root key that all tests sign with."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("FUNAYA_", "AWS_"))}
        env.update(FUNAYA_ROOT_ACCESS_KEY_ID=ACCESS_KEY, FUNAYA_ROOT_SECRET_ACCESS_KEY=SECRET_KEY)
        env.update(self.extra)
        return env

    def start(self, seconds=60):
        """Starts it and waits for its line on stdout."""
        assert self.process is None, "it runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                            env=self.environ(), preexec_fn=bound_to_parent)
        end, text = time.monotonic() + seconds, b""
        while time.monotonic() < end:
            ready, _, _ = select.select([self.process.stdout], [], [], 0.5)
            if ready:
                more = os.read(self.process.stdout.fileno(), 65536)
                text += more
                found = re.search(rb"^funaya ready on (https?://\S+)$", text, re.M)
                if found:
                    self.url = found.group(1).decode().rstrip("/")
                    return self
                if not more:
                    break
        code = self.process.poll()
        self.kill()
        raise AssertionError(f"funaya did not get ready (exit code {code}): {text.decode()}\n{self.tail()}")

    def stop(self, seconds=30):
        """Asks it to drain and end, as an operator would. It must end by itself, and well."""
        process, self.process = self.process, None
        process.terminate()
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"funaya did not end within {seconds} s of SIGTERM\n{self.tail()}") from None
        finally:
            process.stdout.close()
        assert code == 0, f"funaya ended with {code}\n{self.tail()}"

    def kill(self):
        """Ends it at once, if it runs."""
        process, self.process = self.process, None
        if process:
            process.kill()
            process.wait()
            process.stdout.close()

    def restart(self):
        """Stops it and starts it again on the same folder."""
        self.stop()
        return self.start()

    def tail(self, lines=30):
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

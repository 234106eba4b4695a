#!/usr/bin/env python3
"""Registry benchmark: the same work against several servers, interleaved.

See README.md. Python's standard library and the load generator in loadgen/.
"""
import argparse
import base64
import ctypes
import datetime
import gzip
import hashlib
import hmac
import http.client
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tomllib
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
os.environ.setdefault("FUNAYA_BIN", os.path.join(os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target"),
                                                 "dist", "funaya"))
TICK = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ACCEPT = ", ".join([MANIFEST, "application/vnd.oci.image.index.v1+json",
                    "application/vnd.docker.distribution.manifest.v2+json",
                    "application/vnd.docker.distribution.manifest.list.v2+json"])


def log(*a):
    print(*a, file=sys.stderr, flush=True)


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def cpuset(text):
    return {int(x) for x in str(text).split(",")}


# ---------------------------------------------------------------- processes

LIBC = ctypes.CDLL(None, use_errno=True)


def child_setup(cpus):
    def f():
        os.setsid()
        if cpus:
            os.sched_setaffinity(0, cpus)
        LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphans
    return f


def tree(pid):
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{t}/children") as f:
                    todo += [int(x) for x in f.read().split()]
        except OSError:
            pass
    return out


def cpu_of(pids):
    total = 0
    for p in pids:
        try:
            with open(f"/proc/{p}/stat") as f:
                x = f.read().rsplit(")", 1)[1].split()
            total += int(x[11]) + int(x[12])
        except OSError:
            pass
    return total / TICK


def status_kb(pids, field):
    total = 0
    for p in pids:
        try:
            with open(f"/proc/{p}/status") as f:
                m = re.search(rf"^{field}:\s+(\d+)", f.read(), re.M)
            total += int(m.group(1)) if m else 0
        except OSError:
            pass
    return total


def core_busy():
    """Busy seconds of each core, all causes, the hypervisor's steal too."""
    out = {}
    with open("/proc/stat") as f:
        for line in f:
            m = re.match(r"cpu(\d+) (.*)", line)
            if m:
                v = [int(x) for x in m.group(2).split()]
                out[int(m.group(1))] = (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / TICK
    return out


def warm_memory(folder, size):
    """Fills the page cache and frees it again. On a virtual machine that hands free memory back to its host,
    the first write to a page costs a fault in the host, and a server that writes files would pay for that."""
    path, block = os.path.join(folder, "warm"), b"x" * MIB
    with open(path, "wb", buffering=0) as f:
        for _ in range(size // MIB):
            f.write(block)
    os.unlink(path)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---------------------------------------------------------------- AWS SigV4

def sigv4(ecr, url, target, payload):
    """Headers of one signed ECR JSON API call."""
    u = urllib.parse.urlsplit(url)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    day, region = now[:8], ecr.get("region", "us-east-1")
    body = json.dumps(payload).encode()
    headers = {"content-type": "application/x-amz-json-1.1", "host": u.netloc, "x-amz-date": now,
               "x-amz-target": "AmazonEC2ContainerRegistry_V20150921." + target}
    names = ";".join(sorted(headers))
    canonical = "\n".join(["POST", u.path or "/", "", *(f"{k}:{headers[k]}" for k in sorted(headers)), "",
                           names, hashlib.sha256(body).hexdigest()])
    scope = f"{day}/{region}/ecr/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + ecr["secret_key"]).encode()
    for part in (day, region, "ecr", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    sig = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={ecr['access_key']}/{scope}, "
                                f"SignedHeaders={names}, Signature={sig}")
    del headers["host"]
    return headers, body


# ---------------------------------------------------------------- a server

class Skip(Exception):
    pass


class Server:
    def __init__(self, conf, work, opts):
        self.conf, self.opts = conf, opts
        self.name = conf["name"]
        self.kind = conf.get("kind", "registry")
        self.dir = os.path.join(work, "srv-" + self.name)
        os.makedirs(self.dir)
        self.port = int(conf.get("port") or free_port())
        self.proc, self.authorization, self.repos = None, None, set()
        self.tls = self.kind.endswith("-tls")
        self.url = conf.get("url", f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}")
        u = urllib.parse.urlsplit(self.url)
        self.addr = f"{socket.gethostbyname(u.hostname)}:{u.port or 80}"
        self.host = u.netloc
        self.bin = None
        if "bin" in conf:
            b = os.path.expandvars(conf["bin"])
            if "/" in b:
                b = os.path.join(conf["_base"], b)
            self.bin = shutil.which(b)
            if not self.bin:
                raise Skip(f"no program {conf['bin']}")
        self.ecr = conf.get("ecr")
        self.prefix = conf.get("repo_prefix", "bench/")
        self.facts = {}

    def fill(self, s):
        names = {"dir": self.dir, "port": str(self.port), "url": self.url, "bench": HERE, "bin": self.bin or "",
                 "user": self.conf.get("user", ""), "password": self.conf.get("password", ""),
                 "repos": " ".join(self.prefix + x for x in ("main", "push", "tags"))}
        for k, v in names.items():
            s = s.replace("{" + k + "}", v)
        return s

    def environ(self):
        e = dict(os.environ)
        e.update({k: self.fill(str(v)) for k, v in self.conf.get("env", {}).items()})
        e.update(BENCH_URL=self.url, BENCH_DIR=self.dir, BENCH_PORT=str(self.port))
        return e

    def command(self):
        return [self.fill(x) for x in self.conf["cmd"]]

    def prepare(self):
        for name, text in self.conf.get("files", {}).items():
            path = os.path.join(self.dir, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(self.fill(text))
        for c in self.conf.get("setup", []):
            subprocess.run(self.fill(c), shell=True, check=True, env=self.environ(), cwd=self.dir,
                           stdout=subprocess.DEVNULL)

    def start(self):
        if "cmd" in self.conf:
            self.log = open(os.path.join(self.dir, "log"), "ab")
            self.proc = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                         env=self.environ(), cwd=self.dir,
                                         preexec_fn=child_setup(cpuset(self.opts.server_cpus)))
        self.wait()

    def wait(self):
        end = time.time() + 30
        while time.time() < end:
            if self.proc and self.proc.poll() is not None:
                break
            try:
                status, _, _ = self.call("GET", self.conf.get("ready", "/v2/"), auth=False)
                if status < 500:
                    return
            except OSError:
                pass
            time.sleep(0.01)
        tail = ""
        try:
            with open(os.path.join(self.dir, "log"), errors="replace") as f:
                tail = f.read()[-600:]
        except OSError:
            pass
        raise Skip(f"did not start: {tail}")

    def login(self):
        c = self.conf
        if c.get("auth") == "ecr":
            a = self.api("GetAuthorizationToken", {})
            self.authorization = "Basic " + a["authorizationData"][0]["authorizationToken"]
        elif "auth_cmd" in c:
            self.authorization = subprocess.run(self.fill(c["auth_cmd"]), shell=True, check=True, text=True,
                                                env=self.environ(), capture_output=True).stdout.strip()
        elif "authorization" in c:
            self.authorization = c["authorization"]
        elif "user" in c:
            self.authorization = "Basic " + base64.b64encode(f"{c['user']}:{c['password']}".encode()).decode()

    def stop(self):
        if not self.proc:
            return
        pids = tree(self.proc.pid)
        self.proc.terminate()
        try:
            self.proc.wait(5)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        for p in pids[1:]:
            try:
                os.kill(p, 0)
                with open(f"/proc/{p}/stat") as f:
                    if f.read().rsplit(")", 1)[1].split()[0] != "Z":
                        os.kill(p, signal.SIGKILL)
            except OSError:
                pass
        self.proc = None

    # -- HTTP

    def call(self, method, path, body=None, headers=None, auth=True, timeout=60):
        h, p = self.addr.rsplit(":", 1)
        if self.tls:
            c = http.client.HTTPSConnection(h, int(p), timeout=timeout, context=ssl._create_unverified_context())
        else:
            c = http.client.HTTPConnection(h, int(p), timeout=timeout)
        hs = dict(headers or {})
        hs["Host"] = self.host
        if auth and self.authorization:
            hs.setdefault("Authorization", self.authorization)
        if method in ("POST", "PUT", "PATCH") and body is None:
            body = b""
        c.request(method, path, body, hs)
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, data

    def api_request(self, target, payload):
        url = self.fill(self.ecr.get("url", self.url)).rstrip("/") + "/"
        return url, *sigv4(self.ecr, url, target, payload)

    def api(self, target, payload):
        _, h, b = self.api_request(target, payload)
        status, _, data = self.call("POST", "/", b, h, auth=False)
        if status != 200:
            raise RuntimeError(f"{self.name} {target}: {status} {data[:200]!r}")
        return json.loads(data)

    def repo(self, name):
        name = self.prefix + name
        if name not in self.repos:
            self.repos.add(name)
            if self.ecr:
                self.api("CreateRepository", {"repositoryName": name})
            elif "create_repo_cmd" in self.conf:
                subprocess.run(self.fill(self.conf["create_repo_cmd"]).replace("{repo}", name), shell=True,
                               check=True, env=self.environ(), stdout=subprocess.DEVNULL)
        return name

    def push_blob(self, repo, digest, body, size):
        s, h, d = self.call("POST", f"/v2/{repo}/blobs/uploads/")
        if s != 202:
            raise RuntimeError(f"{self.name}: POST upload {s} {d[:200]!r}")
        u = urllib.parse.urlsplit(h["location"])
        path = u.path + "?" + (u.query + "&" if u.query else "") + "digest=" + digest
        s, _, d = self.call("PUT", path, body, {"Content-Length": str(size),
                                                "Content-Type": "application/octet-stream"})
        if s != 201:
            raise RuntimeError(f"{self.name}: PUT blob {s} {d[:200]!r}")

    def push_manifest(self, repo, ref, body):
        s, _, d = self.call("PUT", f"/v2/{repo}/manifests/{ref}", body, {"Content-Type": MANIFEST})
        if s not in (200, 201):
            raise RuntimeError(f"{self.name}: PUT manifest {s} {d[:300]!r}")

    # -- what it costs

    def pids(self):
        if self.proc:
            return tree(self.proc.pid)
        return tree(int(self.conf["pid"])) if "pid" in self.conf else []

    def reset_peak(self):
        for p in self.pids():
            try:
                with open(f"/proc/{p}/clear_refs", "w") as f:
                    f.write("5")
            except OSError:
                pass


class Disk:
    """The disk and SHA-256 themselves, measured between the servers: the limit of the push tests."""
    name, kind, conf, facts, proc = "disk", "disk", {}, {}, None

    def __init__(self, work, fx, opts):
        self.dir, self.fx, self.cpus = os.path.join(work, "disk"), fx, cpuset(opts.server_cpus)
        self.seconds = opts.seconds
        os.makedirs(self.dir)

    def pids(self):
        return []

    def reset_peak(self):
        pass

    def big(self):
        """The slower of SHA-256 on one core and write + fsync, of the same bytes."""
        path = os.path.join(self.dir, "big")
        t = time.monotonic()
        subprocess.run(["dd", f"if={self.fx.big}", f"of={path}", "bs=1M", "conv=fsync"], check=True,
                       capture_output=True, preexec_fn=child_setup(self.cpus))
        disk = time.monotonic() - t
        os.unlink(path)
        t = time.monotonic()
        h = hashlib.sha256()
        with open(self.fx.big, "rb") as f:
            while b := f.read(MIB):
                h.update(b)
        slow = max(disk, time.monotonic() - t)
        return {"value": self.fx.big_size / slow / 1e6, "ops": 1}

    def files(self, threads):
        """4 KiB file, fsync, rename, fsync of the folder; each thread its own folder."""
        buf, counts = os.urandom(4096), [0] * threads
        end = time.monotonic() + self.seconds

        def run(k):
            d = tempfile.mkdtemp(dir=self.dir)
            fd = os.open(d, os.O_RDONLY)
            while time.monotonic() < end:
                x = os.open(f"{d}/t", os.O_CREAT | os.O_WRONLY)
                os.write(x, buf)
                os.fsync(x)
                os.close(x)
                os.rename(f"{d}/t", f"{d}/{counts[k]}")
                os.fsync(fd)
                counts[k] += 1
            os.close(fd)
            shutil.rmtree(d)
        t = time.monotonic()
        todo = [threading.Thread(target=run, args=(k,)) for k in range(threads)]
        for x in todo:
            x.start()
        for x in todo:
            x.join()
        return {"value": sum(counts) / (time.monotonic() - t), "ops": sum(counts)}

    def appends(self, batch):
        """Appends of 1 KiB to one log, fdatasync after each batch (a group commit)."""
        x = os.open(os.path.join(self.dir, "log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        n, t = 0, time.monotonic()
        while time.monotonic() - t < self.seconds:
            for _ in range(batch):
                os.write(x, b"x" * 1024)
            os.fdatasync(x)
            n += batch
        os.close(x)
        return {"value": n / (time.monotonic() - t), "ops": n}

    def sample(self, tid):
        n = 16 if tid.endswith("c16") else 1
        if tid.startswith("push-256m"):
            return self.big()
        return self.files(n) if tid.startswith("push-4k") else self.appends(n)


# ---------------------------------------------------------------- fixtures

class Fixtures:
    """Files that every server is given: made once, random, so incompressible."""

    def __init__(self, work, big_mib, image_mb, layers):
        self.dir = os.path.join(work, "fixtures")
        os.makedirs(self.dir)
        rnd = random.Random(7)
        self.big = os.path.join(self.dir, "big")
        self.big_size = big_mib * MIB
        h = hashlib.sha256()
        with open(self.big, "wb") as f:
            for _ in range(big_mib):
                b = rnd.randbytes(MIB)
                h.update(b)
                f.write(b)
        self.big_digest = "sha256:" + h.hexdigest()
        self.small = {}
        for _ in range(64):
            b = rnd.randbytes(MIB)
            self.small[sha(b)] = b
        self.tiny = {}
        layers_small = []
        for _ in range(5):
            b = rnd.randbytes(3000)
            self.tiny[sha(b)] = b
            layers_small.append({"mediaType": LAYER, "digest": sha(b), "size": len(b)})
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/bin:/bin"]},
                             "rootfs": {"type": "layers", "diff_ids": [x["digest"] for x in layers_small]}}).encode()
        self.tiny[sha(config)] = config
        cdesc = {"mediaType": CONFIG, "digest": sha(config), "size": len(config)}
        self.manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": cdesc,
                                    "layers": layers_small}).encode()
        self.template = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": cdesc,
                                    "layers": layers_small[:1], "annotations": {"bench.n": "@NONCE@-@N@"}})
        self.image = os.path.join(self.dir, "image")
        self.image_blobs = self.layout(self.image, rnd, layers, image_mb * 1000 * 1000 // layers)
        self.image_small = os.path.join(self.dir, "image-small")
        self.layout(self.image_small, rnd, 3, 10_000)
        self.chunk = os.path.join(self.dir, "small-prefix")
        with open(self.chunk, "wb") as f:
            f.write(rnd.randbytes(MIB))

    def layout(self, path, rnd, n, size):
        """An OCI layout with n random gzip layers; returns its blob digests."""
        blobs = os.path.join(path, "blobs", "sha256")
        os.makedirs(blobs)

        def put(b):
            d = sha(b)
            with open(os.path.join(blobs, d[7:]), "wb") as f:
                f.write(b)
            return d
        descs, diffs = [], []
        for i in range(n):
            raw = io.BytesIO()
            with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as t:
                info = tarfile.TarInfo(f"layer{i}/data")
                info.size = size
                t.addfile(info, io.BytesIO(rnd.randbytes(size)))
            z = gzip.compress(raw.getvalue(), compresslevel=0, mtime=0)
            diffs.append(sha(raw.getvalue()))
            descs.append({"mediaType": LAYER, "digest": put(z), "size": len(z)})
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                             "rootfs": {"type": "layers", "diff_ids": diffs}}).encode()
        c = {"mediaType": CONFIG, "digest": put(config), "size": len(config)}
        m = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": c, "layers": descs}).encode()
        with open(os.path.join(path, "oci-layout"), "w") as f:
            json.dump({"imageLayoutVersion": "1.0.0"}, f)
        with open(os.path.join(path, "index.json"), "w") as f:
            json.dump({"schemaVersion": 2, "manifests": [{
                "mediaType": MANIFEST, "digest": put(m), "size": len(m),
                "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}, f)
        return [c["digest"]] + [d["digest"] for d in descs]


def seed(s, fx):
    if s.kind.startswith("static"):
        base = os.path.join(s.dir, "www", "v2", s.prefix + "main")
        for sub in ("blobs", "manifests"):
            os.makedirs(os.path.join(base, sub))
        shutil.copyfile(fx.big, os.path.join(base, "blobs", fx.big_digest))
        for d, b in {**fx.small, **fx.tiny}.items():
            with open(os.path.join(base, "blobs", d), "wb") as f:
                f.write(b)
        for ref in ("latest", sha(fx.manifest)):
            with open(os.path.join(base, "manifests", ref), "wb") as f:
                f.write(fx.manifest)
        for tag, layout in (("big", fx.image), ("small", fx.image_small)):
            s.facts[tag] = s.prefix + "img-" + tag
            to = os.path.join(s.dir, "www", "v2", s.facts[tag])
            for sub in ("blobs", "manifests"):
                os.makedirs(os.path.join(to, sub))
            with open(os.path.join(layout, "index.json")) as f:
                top = json.load(f)["manifests"][0]["digest"]
            for name in os.listdir(os.path.join(layout, "blobs", "sha256")):
                src = os.path.join(layout, "blobs", "sha256", name)
                if name == top[7:]:
                    shutil.copyfile(src, os.path.join(to, "manifests", "v1"))
                    shutil.copyfile(src, os.path.join(to, "manifests", top))
                else:
                    shutil.copyfile(src, os.path.join(to, "blobs", "sha256:" + name))
        return
    if not s.kind.startswith("registry"):
        return
    r = s.repo("main")
    with open(fx.big, "rb") as f:
        s.push_blob(r, fx.big_digest, f, fx.big_size)
    for d, b in {**fx.small, **fx.tiny}.items():
        s.push_blob(r, d, b, len(b))
    s.push_manifest(r, "latest", fx.manifest)
    # correctness before speed: what comes back is what went in
    st, h, d = s.call("GET", f"/v2/{r}/manifests/latest", headers={"Accept": ACCEPT})
    if st != 200 or d != fx.manifest:
        raise RuntimeError(f"{s.name}: manifest differs ({st})")
    st, _, d = s.call("GET", f"/v2/{r}/blobs/{fx.big_digest}")
    if st != 200 or sha(d) != fx.big_digest:
        raise RuntimeError(f"{s.name}: blob differs ({st})")


# ---------------------------------------------------------------- running

class Bench:
    def __init__(self, opts, work):
        self.o, self.work = opts, work
        self.servers, self.extra, self.results, self.order = [], [], {}, []
        self.tests = {}
        self.load = os.path.join(HERE, "loadgen", "target", "release", "benchload")
        self.t0 = time.time()
        self.spare = opts.budget * 60 * 0.2  # seconds that may go into waiting for quiet and into repeats
        self.n = 0
        self.facts = {}
        self.problems = []

    def left(self):
        return self.o.budget * 60 - (time.time() - self.t0)

    def job(self, s, **kw):
        self.n += 1
        j = {"addr": s.addr, "host": s.host, "cores": sorted(cpuset(self.o.client_cpus)), "auth": s.authorization}
        j.update(kw)
        path = os.path.join(self.work, f"job-{s.name}.json")
        with open(path, "w") as f:
            json.dump(j, f)
        out = subprocess.run([self.load, "http", path], capture_output=True, text=True)
        try:
            return json.loads(out.stdout)
        except ValueError:
            return {"fatal": out.stderr[-300:] or "no output"}

    def quiet(self):
        """Waits a little for other programs to leave the two cores alone."""
        cores = cpuset(self.o.server_cpus) | cpuset(self.o.client_cpus)
        start = time.monotonic()
        end = start + min(self.o.patience, self.spare)
        while time.monotonic() < end:
            a = core_busy()
            time.sleep(0.06)
            b = core_busy()
            if sum(b[c] - a[c] for c in cores) <= 0.02:
                break
        self.spare -= time.monotonic() - start

    def measured(self, s, fn):
        """Runs fn once, with what it cost the server and what else ran."""
        self.quiet()
        pids = s.pids()
        s.reset_peak()
        b0, c0, t0 = core_busy(), cpu_of(pids), time.monotonic()
        own0 = os.times()
        r = fn()
        own1 = os.times()
        wall = time.monotonic() - t0
        b1, c1 = core_busy(), cpu_of(s.pids())
        ours = (c1 - c0) + sum(own1[:4]) - sum(own0[:4])
        cores = set(b1)
        if self.o.server_cpus != self.o.client_cpus:
            cores = cpuset(self.o.server_cpus) | cpuset(self.o.client_cpus)
        busy = sum(b1[c] - b0[c] for c in cores)
        r["foreign"] = max(0.0, (busy - ours) / wall)
        r["server_cpu"] = c1 - c0
        r["server_util"] = (c1 - c0) / wall
        r["client_util"] = r.get("client_cpu", sum(own1[:4]) - sum(own0[:4])) / max(r.get("wall", wall), 1e-9)
        r["peak_mib"] = status_kb(s.pids(), "VmHWM") / 1024
        amount = r.get("bytes", 0) / 1e9 or r.get("ops", 0) / 1000
        if (r.get("ops") or r.get("bytes", 0) > MIB) and amount and r["server_cpu"] >= 2 / TICK:
            r["cost"] = r["server_cpu"] / amount  # CPU seconds per GB, or per 1,000 operations
        return r

    def run_test(self, tid, title, unit, better, fn, kinds=("registry",), rounds=None, ref=None, retry=True,
                 per=None, pick=None, group=""):
        """fn(server) gives a result with `value`; every round visits every server."""
        if self.o.match and not re.search(self.o.match, tid):
            return
        servers = [s for s in self.extra + self.servers if s.kind in kinds and (pick is None or pick(s))
                   and group not in s.conf.get("skip", [])]
        if not servers:
            return
        self.tests[tid] = dict(title=title, unit=unit, better=better, ref=ref, per=per, group=group)
        self.order.append(tid)
        rounds = rounds or self.o.rounds
        for i in range(rounds):
            if i > 0 and self.left() < 0:
                log(f"  budget spent: {tid} stops after {i} rounds")
                break
            k = i % len(servers)
            for s in servers[k:] + servers[:k]:
                best = None
                for attempt in range(3 if retry else 1):
                    if group in ("push", "image"):
                        os.sync()  # or this server would wait for what the one before left unwritten
                        warm_memory(self.work, 512 * MIB)
                    t = time.monotonic()
                    try:
                        r = self.measured(s, lambda: fn(s))
                    except Exception as e:  # one broken server must not end the run
                        r = {"fatal": f"{type(e).__name__}: {e}"}
                    if r.get("fatal") or r.get("errors"):
                        self.problem(s, tid, r)
                    if best is None or r.get("foreign", 9) < best.get("foreign", 9):
                        best = r
                    if attempt:
                        self.spare -= time.monotonic() - t
                    if best.get("foreign", 0) < self.o.noise or self.spare < 1:
                        break
                self.results.setdefault(tid, {}).setdefault(s.name, []).append(best)
        row = "  ".join(f"{s.name}={fmt(self.median(tid, s.name))}" for s in servers)
        log(f"[{time.time() - self.t0:5.0f}s] {tid} ({unit}): {row}")

    def problem(self, s, tid, r):
        text = f"{s.name} {tid}: " + str(r.get("fatal") or f"{r['errors']} errors, {r.get('sample')} {r.get('status')}")
        if text not in self.problems:
            self.problems.append(text)
            log("  ! " + text)

    def samples(self, tid, name, key="value"):
        return [r[key] for r in self.results.get(tid, {}).get(name, []) if not r.get("fatal") and r.get(key) is not None]

    def median(self, tid, name, key="value"):
        v = self.samples(tid, name, key)
        return statistics.median(v) if v else None

    def ratio(self, tid, name, other, key="value"):
        """Median of the ratios taken round by round."""
        a = self.results.get(tid, {}).get(name, [])
        b = self.results.get(tid, {}).get(other, [])
        q = [x[key] / y[key] for x, y in zip(a, b) if x.get(key) and y.get(key)]
        return statistics.median(q) if q else None

    # -- groups

    def load_test(self, tid, title, unit, better, make, value, per=None, **kw):
        def fn(s):
            if s.kind == "disk":
                return s.sample(tid)
            r = self.job(s, **make(s))
            if not r.get("fatal"):
                r["value"] = value(r)
                if per == "GB":
                    r["bytes"] = r["bytes_in"] + r["bytes_out"]
            return r
        self.run_test(tid, title, unit, better, fn, per=per, **kw)

    def pull(self, fx):
        secs = self.o.seconds
        kinds, g = ("registry", "static"), "pull"

        def one(s, headers=()):
            return {"method": "GET", "path": f"/v2/{s.prefix}main/blobs/{fx.big_digest}", "headers": list(headers)}
        gbs = lambda r: r["in_gb_s"]
        for c in (1, 16):
            self.load_test(f"pull-256m-c{c}", f"GET {fx.big_size // MIB} MiB blob, {c} connection(s)", "GB/s", "high",
                           lambda s, c=c: dict(mode="requests", conns=c, seconds=max(secs, 0.8), cut=True,
                                               requests=[one(s)]),
                           gbs, per="GB", kinds=kinds, ref="nginx", group=g)
        self.load_test("pull-1m-c32", "GET random 1 MiB blobs, 32 connections", "GB/s", "high",
                       lambda s: dict(mode="requests", conns=32, seconds=secs, random=True, requests=[
                           {"path": f"/v2/{s.prefix}main/blobs/{d}"} for d in fx.small]),
                       gbs, per="GB", kinds=kinds, ref="nginx", group=g)
        rnd = random.Random(3)
        offs = [rnd.randrange(0, fx.big_size - MIB) for _ in range(200)]
        self.load_test("range-1m-c16", "ranged GET of 1 MiB at random offsets, 16 connections", "GB/s", "high",
                       lambda s: dict(mode="requests", conns=16, seconds=secs, random=True, requests=[
                           {**one(s, [("Range", f"bytes={o}-{o + MIB - 1}")]), "status": [206]} for o in offs]),
                       gbs, per="GB", kinds=kinds, ref="nginx", group=g)

    def rps(self, fx):
        secs, g = self.o.seconds, "rps"
        small = sorted(fx.small)
        acc = [("Accept", ACCEPT)]
        ends = {
            "ping": lambda s: [{"path": "/v2/"}],
            "manifest-tag": lambda s: [{"path": f"/v2/{s.prefix}main/manifests/latest", "headers": acc}],
            "manifest-digest": lambda s: [{"path": f"/v2/{s.prefix}main/manifests/{sha(fx.manifest)}", "headers": acc}],
            "head-blob": lambda s: [{"method": "HEAD", "path": f"/v2/{s.prefix}main/blobs/{d}"} for d in small],
        }
        titles = {"ping": "GET /v2/", "manifest-tag": "GET manifest by tag",
                  "manifest-digest": "GET manifest by digest", "head-blob": "HEAD blob"}
        for name, reqs in ends.items():
            for c in ((1, 32, 256) if not self.o.quick else ((1, 32, 256) if name == "manifest-tag" else (32,))):
                self.load_test(f"{name}-c{c}", f"{titles[name]}, {c} connection(s)", "req/s", "high",
                               lambda s, c=c, reqs=reqs: dict(mode="requests", conns=c, seconds=secs, random=True,
                                                              requests=reqs(s)),
                               lambda r: r["ops_s"], per="1k", kinds=("registry", "static", "hello"), ref="hello",
                               group=g)

    def push(self, fx):
        o, g = self.o, "push"
        self.extra = [Disk(self.work, fx, o)]
        lim = dict(kinds=("registry", "disk"), ref="disk")
        heavy = 1 if o.quick else o.heavy_rounds
        big = fx.big_size  # each sample leaves a new blob of this size in the server's folder

        def make(s, **kw):
            self.n += 1
            return dict(mode="push", repo=s.repo("push"), file=fx.big, size=big, ops=1, nonce=f"{os.getpid()}-{self.n}",
                        timeout=120, **kw)
        mbs = lambda r: big * r["ops"] / r["secs"] / 1e6
        for tid, title, chunk in (("push-256m", "POST + one PUT", 0),
                                  ("push-256m-stream", "POST + one PATCH + PUT (as Docker does)", big),
                                  ("push-256m-chunk10", "POST + PATCH of 10 MiB each + PUT", 10 * MIB)):
            if o.quick and chunk == big:
                continue
            self.load_test(tid, f"push {big // MIB} MiB blob: {title}", "MB/s", "high",
                           lambda s, chunk=chunk: make(s, chunk=chunk), mbs, per="GB", rounds=heavy, retry=False,
                           group=g, **lim)
        for c in (1, 16):
            self.load_test(f"push-4k-c{c}", f"push of unique 4 KiB blobs (POST + PUT), {c} connection(s)", "blobs/s",
                           "high", lambda s, c=c: {**make(s), "file": fx.chunk, "size": 4096, "ops": 0, "conns": c,
                                                   "seconds": o.seconds},
                           lambda r: r["ops_s"], per="1k", rounds=heavy + 1, retry=False, group=g, **lim)
        for c in (1, 16):
            def put(s, c=c):
                self.n += 1
                r = s.repo(f"manifests{self.n}")  # a new one each time: ECR's repositories take 10,000 images
                for d, b in fx.tiny.items():
                    s.push_blob(r, d, b, len(b))
                return dict(mode="manifests", repo=r, conns=c, seconds=o.seconds, tag_prefix=f"p{self.n}-",
                            template=fx.template.replace("@NONCE@", f"p{self.n}"), content_type=MANIFEST)
            self.load_test(f"manifest-put-c{c}", f"PUT of unique manifests with new tags, {c} connection(s)", "PUT/s",
                           "high", put, lambda r: r["ops_s"], per="1k", rounds=heavy + 1, retry=False, group=g, **lim)

    def rss(self, fx):
        """Many large pushes at once: what the server's memory grows to. The blobs stay until the end of the run."""
        n, mib = (int(x) for x in self.o.rss_push.split("x"))
        source = os.path.join(self.work, "sparse")
        with open(source, "wb") as f:
            f.truncate(mib * MIB)
        rivals = [s for s in self.servers if s.kind == "registry" and "rss" not in s.conf.get("skip", [])]
        need, free = len(rivals) * n * mib * MIB * 1.05, shutil.disk_usage(self.work).free
        if need > free:
            self.problems.append(f"rss-push: {need / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} GB are free")
            return

        def make(s):
            self.n += 1
            return dict(mode="push", repo=s.repo("push"), file=source, size=mib * MIB, chunk=mib * MIB, ops=n, conns=n,
                        nonce=f"{os.getpid()}-{self.n}", timeout=3600)
        self.load_test(f"rss-push-{n}x{mib}", f"{n} pushes of {mib} MiB at once", "MB/s", "high", make,
                       lambda r: mib * MIB * r["ops"] / r["secs"] / 1e6, per="GB", rounds=1, retry=False, group="rss",
                       pick=lambda s: s in rivals)

    # -- real client

    def skopeo(self, s, args, src=False):
        a = s.authorization or ""
        side = "--src" if src else "--dest"
        cred = [f"{side}-no-creds"]
        if a.startswith("Basic "):
            cred = [f"{side}-creds", base64.b64decode(a[6:]).decode()]
        elif a.startswith("Bearer "):
            cred = [f"{side}-registry-token", a[7:]]
        return self.isolate + ["skopeo", "--insecure-policy", "copy", "-q", f"{side}-tls-verify=false", *cred, *args]

    def spawn(self, cmd):
        return subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                preexec_fn=child_setup(cpuset(self.o.client_cpus)))

    def wait_all(self, procs):
        for p in procs:
            err = p.communicate(timeout=300)[1]
            if p.returncode:
                raise RuntimeError(f"skopeo: {err.decode(errors='replace')[-300:]}")

    def images(self, fx):
        if not shutil.which("skopeo"):
            self.problems.append("no skopeo: whole-image tests skipped")
            return
        # A private, empty blob-info cache for each call, or skopeo would mount
        # blobs that it pushed before instead of sending them.
        cache = "/var/lib/containers/cache"
        self.isolate = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {cache} && exec "$@"', "sh"]
        try:
            os.makedirs(cache, exist_ok=True)
            ok = subprocess.run(self.isolate + ["true"], capture_output=True).returncode == 0
        except OSError:
            ok = False
        if not ok:
            self.isolate = []
            self.problems.append("no private blob-info cache: skopeo pushes may be cross-repository mounts")
        o, g = self.o, "image"
        size = sum(os.path.getsize(os.path.join(fx.image, "blobs", "sha256", d[7:])) for d in fx.image_blobs)
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else self.work

        def push(s, layout, tag):
            self.n += 1
            repo = s.repo(f"img{self.n}")
            cmd = self.skopeo(s, [f"oci:{layout}:v1", f"docker://{s.host}/{repo}:v1"])
            t = time.monotonic()
            self.wait_all([self.spawn(cmd)])
            s.facts[tag] = repo
            return {"value": time.monotonic() - t, "bytes": size, "ops": 1}

        def pull(s, tag, n=1):
            with tempfile.TemporaryDirectory(dir=shm) as d:
                cmds = [self.skopeo(s, [f"docker://{s.host}/{s.facts[tag]}:v1", f"dir:{d}/{i}"], src=True)
                        for i in range(n)]
                t = time.monotonic()
                self.wait_all([self.spawn(c) for c in cmds])
                return {"value": time.monotonic() - t, "bytes": size * n, "ops": n}
        heavy, both = 1 if o.quick else o.heavy_rounds, ("registry", "static")
        mb = round(size / 1e6)
        kw = dict(unit="s", better="low", retry=False, group=g)
        self.run_test("image-push", f"skopeo push of {len(fx.image_blobs) - 1} layers, {mb} MB",
                      fn=lambda s: push(s, fx.image, "big"), rounds=heavy, per="GB", **kw)
        self.run_test("image-pull", f"skopeo pull of {len(fx.image_blobs) - 1} layers, {mb} MB",
                      fn=lambda s: pull(s, "big"), rounds=heavy, per="GB", kinds=both, ref="nginx", **kw)
        self.run_test("image-pull-x8", f"the same by 8 skopeo at once ({8 * mb} MB)",
                      fn=lambda s: pull(s, "big", 8), rounds=1 if o.quick else max(1, heavy - 1), per="GB", kinds=both, ref="nginx", **kw)
        self.run_test("image-push-small", "skopeo push of 3 layers, 30 KB", fn=lambda s: push(s, fx.image_small, "small"),
                      rounds=heavy + 1, **kw)
        self.run_test("image-pull-small", "skopeo pull of 3 layers, 30 KB", fn=lambda s: pull(s, "small"),
                      rounds=heavy + 1, kinds=both, ref="nginx", **kw)
        acc = [("Accept", ACCEPT)]

        def sim(s):
            r = s.facts["big"]
            return dict(mode="image", conns=8, per_client=3, ops=1, requests=[
                {"path": f"/v2/{r}/manifests/v1", "headers": acc}] + [
                {"path": f"/v2/{r}/blobs/{d}"} for d in fx.image_blobs])
        self.load_test("image-pull-x8-load", f"the same by 8 simulated clients, 3 connections each ({8 * mb} MB)", "GB/s",
                       "high", sim, lambda r: r["in_gb_s"], per="GB", rounds=heavy, kinds=both, ref="nginx", group=g)

    # -- TLS: the client decrypts on its own core and is the slower side, so read the CPU cost, not the speed

    def tls(self, fx):
        kinds, g = ("static-tls", "registry-tls"), "tls"
        if not any(s.kind in kinds for s in self.servers):
            return

        def pull(s):
            url = f"{s.url}/v2/{s.prefix}main/blobs/{fx.big_digest}"
            n = 1 if self.o.quick else 3
            auth = ["-H", f"Authorization: {s.authorization}"] if s.authorization else []
            t = time.monotonic()
            out = subprocess.run(["curl", "-skf", "--http1.1", *auth, *(["-o", "/dev/null", url] * n)],
                                 capture_output=True, text=True)
            if out.returncode:
                return {"fatal": f"curl {out.returncode} {out.stderr[-200:]}"}
            total = n * fx.big_size
            return {"value": total / (time.monotonic() - t) / 1e9, "bytes": total, "ops": n}

        def shake(s):
            secs, t = 1 if self.o.quick else 2, time.monotonic()
            out = subprocess.run(["openssl", "s_time", "-connect", s.addr, "-new", "-time", str(secs)],
                                 capture_output=True, text=True).stdout
            m = re.search(r"(\d+) connections in [\d.]+ real", out) or re.search(r"(\d+) connections in", out)
            n = int(m.group(1)) if m else 0
            return {"value": n / (time.monotonic() - t), "ops": n} if n else {"fatal": out[-200:]}
        heavy = 2 if self.o.quick else self.o.heavy_rounds
        self.run_test("tls-pull-256m", f"GET {fx.big_size // MIB} MiB blob over TLS 1.3 (curl)", "GB/s", "high", pull,
                      kinds=kinds, rounds=heavy, ref="nginx-tls", per="GB", group=g)
        self.run_test("tls-handshake", "new TLS connections (openssl s_time)", "conn/s", "high", shake, kinds=kinds,
                      rounds=heavy, ref="nginx-tls", per="1k", group=g)

    # -- growth

    def tags(self, fx):
        o = self.o
        sizes = [int(x) for x in o.sizes.split(",")]
        have = 0
        for n in sizes:
            # all servers at once: this only prepares, and waits mostly for the disk
            todo = [threading.Thread(target=self.seed_tags, args=(s, fx, have, n)) for s in self.servers
                    if s.kind in ("registry", "ecr-api") and "tags" not in s.conf.get("skip", [])]
            for t in todo:
                t.start()
            for t in todo:
                t.join()
            have = n
            rounds = 2 if o.quick else 3
            secs = o.seconds / 2
            ms = lambda r: r["p50_us"] / 1000

            def t(tid, title, make, **kw):
                self.load_test(f"{tid}-{n}", f"{title}, {n:,} tags", "ms", "low", make, ms, rounds=rounds, per="1k", **kw)
            q = lambda s, x="": {"path": f"/v2/{s.repo('tags')}/tags/list{x}"}
            base = dict(mode="requests", conns=1, seconds=secs)
            t("tags-all", "tag list, whole", lambda s: dict(base, requests=[q(s)]), group="tags")
            t("tags-first100", "tag list, n=100, first page", lambda s: dict(base, requests=[q(s, "?n=100")]), group="tags")
            t("tags-mid100", "tag list, n=100 from the middle",
              lambda s: dict(base, requests=[q(s, f"?n=100&last=t{n // 2:06}")]), group="tags")
            t("tags-walk", "tag list, all pages of n=1000",
              lambda s: dict(base, follow_link=True, requests=[q(s, "?n=1000")]), group="tags")
            t("tag-get", "GET manifest by random tag", lambda s: dict(base, random=True, requests=[
                {"path": f"/v2/{s.repo('tags')}/manifests/t{i:06}", "headers": [("Accept", ACCEPT)]}
                for i in random.Random(n).sample(range(n), min(n, 500))]), group="tags")

            def api(target, payload):
                def make(s):
                    _, h, b = s.api_request(target, {**payload, "repositoryName": s.repo("tags")})
                    return dict(base, auth=None, requests=[{"method": "POST", "path": "/", "headers": list(h.items()),
                                                           "body": b.decode()}])
                return make
            kw = dict(kinds=("registry", "ecr-api"), pick=lambda s: bool(s.ecr), group="ecr")
            t("ecr-describe-page", "DescribeImages, maxResults 100", api("DescribeImages", {"maxResults": 100}), **kw)
            t("ecr-describe-tag", "DescribeImages of one tag",
              api("DescribeImages", {"imageIds": [{"imageTag": f"t{n // 2:06}"}]}), **kw)
            t("ecr-list-page", "ListImages, maxResults 100", api("ListImages", {"maxResults": 100}), **kw)
            t("ecr-batch-get", "BatchGetImage of one tag",
              api("BatchGetImage", {"imageIds": [{"imageTag": f"t{n // 2:06}"}]}), **kw)

    def seed_tags(self, s, fx, first, last):
        repo = s.repo("tags")
        if s.kind == "ecr-api":
            for i in range(first, last):
                s.api("PutImage", {"repositoryName": repo, "imageTag": f"t{i:06}", "imageManifestMediaType": MANIFEST,
                                   "imageManifest": fx.template.replace("@NONCE@", "t").replace("@N@", f"{i:06}")})
            return
        if first == 0:
            for d, b in fx.tiny.items():
                s.push_blob(repo, d, b, len(b))
        r = self.job(s, mode="manifests", repo=repo, conns=8, first=first, ops=last - first, tag_prefix="t",
                     template=fx.template.replace("@NONCE@", "t"), content_type=MANIFEST, timeout=300)
        if r.get("fatal") or r.get("errors"):
            self.problem(s, "seed-tags", r)

    # -- start and limits

    def starts(self):
        """Exec to first answer: on the folder that the run filled, on an empty one each time, on one started before."""
        n = 3 if self.o.quick else 7
        for s in self.servers:
            s.stop()
        live = [s for s in self.servers if "cmd" in s.conf and not s.tls]
        for label in ("filled", "fresh", "used"):
            for _ in range(n):
                for s in live:
                    if label == "fresh":
                        shutil.rmtree(s.dir)
                        os.makedirs(s.dir)
                        s.prepare()
                    self.start_once(s, label)
            for s in live:
                log(f"  start {label} {s.name}: {fmt(med(s.facts.get('start_ms_' + label)))} ms")

    def start_once(self, s, label):
        out = subprocess.run([self.load, "start", str(self.o.server_cpus), s.addr, s.conf.get("ready", "/v2/"), "--",
                              *s.command()], env=s.environ(), cwd=s.dir, capture_output=True, text=True)
        try:
            r = json.loads(out.stdout)
        except ValueError:
            r = {"error": out.stderr[-200:]}
        if "ms" in r:
            s.facts.setdefault("start_ms_" + label, []).append(r["ms"])
        else:
            self.problem(s, "start", {"fatal": r.get("error")})

    def limits(self, fx):
        f = self.facts
        cpu = cpuset(self.o.server_cpus)

        def sh(*cmd):
            return subprocess.run(cmd, capture_output=True, text=True, preexec_fn=child_setup(cpu))
        secs = "1"
        runs = 1 if self.o.quick else 2
        for key, alg, size in (("sha256", "sha256", "1048576"), ("aes-256-gcm", "aes-256-gcm", "16384")):
            v = []
            for _ in range(runs):
                out = sh("openssl", "speed", "-evp", alg, "-bytes", size, "-seconds", secs).stdout
                m = re.search(r"([\d.]+)k\s*$", out)
                if m:
                    v.append(float(m.group(1)) / 1e6)
            f[f"{key} GB/s (1 core)"] = med(v)
        for mode in ("write-copy", "write-drop", "sendfile-copy", "sendfile-drop"):
            v = []
            for _ in range(runs):
                out = subprocess.run([self.load, "tcp", mode, secs, fx.big], capture_output=True, text=True)
                try:
                    v.append(json.loads(out.stdout))
                except ValueError:
                    pass
            f[f"loopback TCP {mode} GB/s"] = med([x["gb_s"] for x in v])
            f[f"loopback TCP {mode} sender CPU s/GB"] = med([x["sender_cpu_per_gb"] for x in v])
        v, w = [], []
        for _ in range(runs + 2):
            path = os.path.join(self.work, "dd")
            t = time.monotonic()
            sh("dd", f"if={fx.big}", f"of={path}", "bs=1M", "conv=fsync")
            v.append(fx.big_size / (time.monotonic() - t) / 1e6)
            os.unlink(path)
            t = time.monotonic()
            sh("dd", f"if={fx.big}", f"of={path}", "bs=1M")
            w.append(fx.big_size / (time.monotonic() - t) / 1e6)
            os.unlink(path)
        f["dd conv=fsync MB/s"], f["dd into the page cache MB/s"] = med(v), med(w)
        for k, val in f.items():
            log(f"  limit {k}: {fmt(val)}")


def med(v):
    v = [x for x in (v or []) if x is not None]
    return statistics.median(v) if v else None


def fmt(x):
    if x is None:
        return "–"
    if x == 0:
        return "0"
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    if abs(x) >= 100:
        return f"{x:.0f}"
    if abs(x) >= 10:
        return f"{x:.1f}"
    return f"{x:.2f}" if abs(x) >= 0.1 else f"{x:.3f}"


# ---------------------------------------------------------------- report

def table(head, rows):
    w = [max(len(str(r[i])) for r in [head] + rows) for i in range(len(head))]
    line = lambda r: "| " + " | ".join(str(x).ljust(w[i]) if i == 0 else str(x).rjust(w[i]) for i, x in enumerate(r)) + " |"
    return "\n".join([line(head), "|" + "|".join("-" * (x + 2) if i == 0 else "-" * (x + 1) + ":"
                                                for i, x in enumerate(w)) + "|"] + [line(r) for r in rows])


def report(b):
    out = []
    names = [s.name for s in b.extra + b.servers]
    groups = []
    for t in b.order:
        g = b.tests[t]["group"]
        if g not in groups:
            groups.append(g)
    for g in groups:
        ids = [t for t in b.order if b.tests[t]["group"] == g]
        cols = [n for n in names if any(n in b.results.get(t, {}) for t in ids)]
        refs = sorted({b.tests[t]["ref"] for t in ids if b.tests[t]["ref"]}) + [b.o.base]
        out.append(f"\n## {g}: medians\n")
        rows = []
        for t in ids:
            row = [f"{b.tests[t]['title']} ({b.tests[t]['unit']})"]
            for n in cols:
                v = b.samples(t, n)
                noisy = v and med(b.samples(t, n, "foreign")) > b.o.noise and g in ("pull", "rps")
                row.append(fmt(med(v)) + ("~" if noisy else ""))
            rows.append(row)
        out.append(table(["test"] + cols, rows))
        for ref in refs:
            if ref not in cols:
                continue
            rows = []
            for t in ids:
                row = [b.tests[t]["title"]]
                for n in cols:
                    q = b.ratio(t, n, ref)
                    if q and b.tests[t]["better"] == "low":
                        q = 1 / q
                    row.append(fmt(q) + ("x" if q else ""))
                rows.append(row)
            out.append(f"\n### {g}: how many times as fast as {ref} (higher is better, paired by round)\n")
            out.append(table(["test"] + cols, rows))
        if g in ("rps", "push", "pull", "rss"):
            rows = []
            for t in ids:
                row = [b.tests[t]["title"]]
                for n in cols:
                    p50, p99 = b.median(t, n, "p50_us"), b.median(t, n, "p99_us")
                    row.append("–" if p50 is None else f"{fmt(p50 / 1000)} / {fmt(p99 / 1000)}")
                rows.append(row)
            out.append(f"\n### {g}: latency p50 / p99, ms\n")
            out.append(table(["test"] + cols, rows))
        rows = []
        for t in ids:
            per = b.tests[t]["per"]
            if not per:
                continue
            row = [b.tests[t]["title"] + (" (s/GB)" if per == "GB" else " (s/1,000)")]
            for n in cols:
                row.append(fmt(b.median(t, n, "cost")))
            rows.append(row)
        if rows:
            out.append(f"\n### {g}: server CPU seconds per GB or per 1,000 operations (hardly moved by other load)\n")
            out.append(table(["test"] + cols, rows))
        for ref in refs:
            if ref not in cols or not rows:
                continue
            more = []
            for t in ids:
                if b.tests[t]["per"]:
                    q = [b.ratio(t, n, ref, "cost") for n in cols]
                    more.append([b.tests[t]["title"]] + [fmt(1 / x) + "x" if x else "–" for x in q])
            out.append(f"\n### {g}: work per server CPU second, times {ref}\n")
            out.append(table(["test"] + cols, more))
        rows = []
        for t in ids:
            row = [b.tests[t]["title"]]
            for n in cols:
                su, cu, pk = (b.median(t, n, k) for k in ("server_util", "client_util", "peak_mib"))
                row.append("–" if su is None else f"{su * 100:.0f}/{cu * 100:.0f}% {pk:.0f}M")
            rows.append(row)
        out.append(f"\n### {g}: server/client core use, peak RSS (MiB)\n")
        out.append(table(["test"] + cols, rows))
    rows = []
    for s in b.servers:
        f = s.facts
        rows.append([s.name, f.get("version", ""), fmt(f.get("binary_mb")), fmt(f.get("idle_mib")), fmt(f.get("peak_mib")),
                     fmt(med(f.get("start_ms_fresh"))), fmt(med(f.get("start_ms_used"))), fmt(med(f.get("start_ms_filled"))),
                     fmt(f.get("disk_mb"))])
    out.append("\n## size and start\n")
    out.append(table(["server", "version", "binary MB", "idle RSS MiB", "peak RSS MiB", "start ms (empty folder)",
                      "start ms (used folder)", "start ms (folder of the run)", "data MB"], rows))
    if b.facts:
        out.append("\n## limits of this machine\n")
        out.append(table(["limit", "value"], [[k, fmt(v)] for k, v in b.facts.items()]))
    if b.problems:
        out.append("\n## problems\n")
        out += [f"- {p}" for p in b.problems]
    return "\n".join(out) + "\n"


def machine():
    info = {}
    with open("/proc/cpuinfo") as f:
        m = re.search(r"model name\s*:\s*(.*)", f.read())
        info["cpu"] = m.group(1) if m else "?"
    info["cores"] = os.cpu_count()
    info["load"] = os.getloadavg()
    info["kernel"] = os.uname().release
    return info


def main():
    p = argparse.ArgumentParser(description="Runs the same registry work against several servers, interleaved.")
    p.add_argument("--servers", action="append", help="TOML file with [[server]] entries (default: servers.toml here)")
    p.add_argument("--only", help="comma-separated server names")
    p.add_argument("--skip", default="", help="comma-separated server names")
    p.add_argument("--tests", default="limits,pull,rps,push,image,tls,tags,start",
                   help="comma-separated groups (default: all): limits,pull,rps,push,image,tls,tags,start")
    p.add_argument("--match", help="only tests whose id this regular expression finds, e.g. 'push-256m'")
    p.add_argument("--quick", action="store_true", help="under 4 minutes")
    p.add_argument("--rounds", type=int)
    p.add_argument("--seconds", type=float, help="length of one timed sample")
    p.add_argument("--heavy-rounds", type=int, default=3)
    p.add_argument("--sizes", help="images in the repository of the tags group, rising (default: 100,1000,10000)")
    p.add_argument("--rss-push", metavar="NxMIB", help="group 'rss': N parallel pushes of MIB MiB each, e.g. 64x1024 "
                   "(needs that much disk, one server after the other)")
    p.add_argument("--budget", type=float, help="minutes after which no further round starts")
    p.add_argument("--noise", type=float, default=0.15, help="repeat a sample with more foreign CPU than this share")
    p.add_argument("--patience", type=float, help="seconds to wait for quiet cores before a sample")
    p.add_argument("--server-cpus", default="0")
    p.add_argument("--client-cpus", default="1")
    p.add_argument("--base", default="dist-2.8", help="server of the second ratio table")
    p.add_argument("--out", help="JSON with every sample")
    p.add_argument("--md", help="Markdown report (it is printed too)")
    p.add_argument("--dir", help="where the data folders go (default: the system's temporary folder)")
    p.add_argument("--keep", action="store_true")
    o = p.parse_args()
    o.rounds = o.rounds or (2 if o.quick else 4)
    o.seconds = o.seconds or (0.4 if o.quick else 0.7)
    o.budget = o.budget or (2.8 if o.quick else 15)
    o.sizes = o.sizes or ("100,1000" if o.quick else "100,1000,10000")
    o.patience = o.patience if o.patience is not None else (0.2 if o.quick else 0.5)
    groups = o.tests.split(",")
    loadgen = os.path.join(HERE, "loadgen")
    subprocess.run(["cargo", "build", "--release", "--quiet", "--locked", "--target-dir", os.path.join(loadgen, "target")],
                   cwd=loadgen, check=True)
    confs = []
    for path in o.servers or [os.path.join(HERE, "servers.toml")]:
        with open(path, "rb") as f:
            for c in tomllib.load(f)["server"]:
                c["_base"] = os.path.dirname(os.path.abspath(path))
                confs.append(c)
    if o.only:
        confs = [c for c in confs if c["name"] in o.only.split(",")]
    confs = [c for c in confs if c["name"] not in o.skip.split(",")]
    work = tempfile.mkdtemp(prefix="regbench-", dir=o.dir)
    os.sched_setaffinity(0, cpuset(o.client_cpus))
    b = Bench(o, work)
    info = machine()
    log(f"{info['cpu']}, {info['cores']} cores, load {info['load'][0]:.2f}")

    def bye(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, bye)
    try:
        for c in confs:
            try:
                s = Server(c, work, o)
                s.prepare()
                s.start()
                b.servers.append(s)
                time.sleep(0.3)
                s.facts["idle_mib"] = status_kb(s.pids(), "VmRSS") / 1024
                if s.bin:
                    s.facts["binary_mb"] = os.path.getsize(s.bin) / 1e6
                if "version_cmd" in c:
                    v = subprocess.run(s.fill(c["version_cmd"]), shell=True, capture_output=True, text=True)
                    text = (v.stdout + v.stderr).strip().splitlines() or [""]
                    s.facts["version"] = text[0].split("/")[-1].split(" ")[-1][:30]
                s.login()
            except (Skip, subprocess.CalledProcessError) as e:
                log(f"skipped {c['name']}: {e}")
                b.problems.append(f"skipped {c['name']}: {e}".replace(work, "DIR"))
        big = 64 if o.quick else 256
        fx = Fixtures(work, 256 if not o.quick else big, 300 if not o.quick else 100, 20)
        log(f"[{time.time() - b.t0:5.0f}s] fixtures made")
        for s in list(b.servers):
            try:
                seed(s, fx)
            except Exception as e:
                log(f"dropped {s.name}: {e}")
                b.problems.append(f"dropped {s.name}: {e}")
                s.stop()
                b.servers.remove(s)
        if "limits" in groups:
            b.limits(fx)
        if "pull" in groups:
            b.pull(fx)
        if "rps" in groups:
            b.rps(fx)
        if "push" in groups:
            b.push(fx)
        if "image" in groups:
            b.images(fx)
        if "tls" in groups:
            b.tls(fx)
        if "tags" in groups:
            b.tags(fx)
        if o.rss_push:
            b.rss(fx)
        for s in b.servers:
            s.facts["peak_mib"] = max([r.get("peak_mib", 0) for t in b.results.values() for r in t.get(s.name, [])] or [0])
            du = subprocess.run(["du", "-sm", s.dir], capture_output=True, text=True).stdout.split()
            s.facts["disk_mb"] = float(du[0]) if du else None
        if "start" in groups:
            b.starts()
    finally:
        for s in b.servers:
            s.stop()
        if o.keep:
            log(f"kept {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    text = report(b)
    print(text)
    after = os.getloadavg()
    log(f"done in {time.time() - b.t0:.0f} s, load now {after[0]:.2f}")
    if o.md:
        with open(o.md, "w") as f:
            f.write(text)
    if o.out:
        with open(o.out, "w") as f:
            json.dump({"machine": info, "seconds": time.time() - b.t0, "tests": b.tests, "results": b.results,
                       "facts": {s.name: s.facts for s in b.servers}, "limits": b.facts, "problems": b.problems}, f,
                      indent=1)


if __name__ == "__main__":
    main()

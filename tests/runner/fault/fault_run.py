#!/usr/bin/env python3
"""Random faults over many small sweeps: each must end, after resumes, in the undisturbed database.

usage: fault_run.py BUILD MPIRUN [--faults N] [--seed S] [--patience SECONDS] [--no-recovery] [--keep]

A sweep of two quickstart networks is started under mpirun again and again. Somewhere in the middle
a fault strikes: kill -9 or SIGSTOP of any process below mpirun (ranks and whatever they have
started) or of the whole job, SIGTERM, SIGUSR1, a full disk under the database, a packed picture
that changes on the disk. Then the same command is given until it ends by itself. Checked are counts
and digests of every job against the undisturbed run, SQLite's integrity_check, and that no image is
counted twice. A sweep that stores nothing for --patience seconds hangs, however slow the machine
is. Exits 0, 1 with the seed of the sweep that failed, 77 where it cannot run.
"""
import argparse
import collections
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
DISK_KIB = 12288  # of the small disk that a database is put on: its write-ahead log grows to 4 MiB

PHOTOGRAPHS = """{"name": "photographs",
 "dataset": {"format": "image_folder", "images": "%s/imagenet-sample", "cache": "%s", "chunk": 4,
  "num_images": 40},
 "checkpoints": {"efficientnet_lite0": "%s/models/efficientnet-lite0-57934424.pth"},
 "settings": {"sigma": 12, "calibration_images": 2},
 "matrix": {"model": "efficientnet_lite0", "bits": "w8a8", "mode": "squant"}}"""


class Failed(Exception):
    pass


def processes_below(pid):
    """Pids of all descendants, parents first."""
    children = collections.defaultdict(list)
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            children[int(fields[1])].append(int(entry))
    found, queue = [], [pid]
    while queue:
        below = children[queue.pop(0)]
        found += below
        queue += below
    return found


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class SmallDisk:
    """A tmpfs that can be filled; root alone may mount one."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", str(folder)]
        self.mounted = subprocess.run(["mount", *options], stderr=subprocess.DEVNULL).returncode == 0

    def fill(self):
        with open(self.folder / "filler", "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def free(self):
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)


class Job:
    """One mpirun with its output in a file."""

    def __init__(self, command, log):
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=ROOT / "experiments"
        )
        self.known = set()

    def below(self):
        found = processes_below(self.process.pid)
        self.known.update(found)
        return found

    def ours(self):
        """The processes of squant-sweep that are still there: pid, state, command."""
        commands = [(pid, state_of(pid), command_of(pid)) for pid in self.below()]
        return [entry for entry in commands if "squant" in entry[2] and entry[1] != "Z"]

    def wait(self, seconds, progress):
        """The exit code; None where it did not end though `progress` stood still for so long."""
        seen, end = progress(), time.time() + seconds
        while time.time() < end:
            try:
                return self.process.wait(0.5)
            except subprocess.TimeoutExpired:
                pass
            if progress() != seen:
                seen, end = progress(), time.time() + seconds
        return None

    def signal(self, number):
        for pid in [self.process.pid, *self.below()]:
            send(pid, number)

    def kill(self):
        victims = [self.process.pid, *self.below()]
        for pid in victims:
            send(pid, signal.SIGKILL)
        self.process.wait()
        for pid in self.known:  # of a rank that was orphaned before
            if "squant" in command_of(pid):
                send(pid, signal.SIGKILL)
        self.log.close()


def state_of(pid):
    try:
        return pathlib.Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def command_of(pid):
    try:
        return pathlib.Path("/proc", str(pid), "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def role_of(pid):
    """What this process below mpirun is to a sweep."""
    try:
        name = pathlib.Path("/proc", str(pid), "comm").read_text().strip()
        variables = pathlib.Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return "process that has just ended"
    if name != "squant-sweep":
        return {"squant-spawner": "spawner"}.get(name, "child")  # it has no name of its own at first
    return "coordinator" if b"OMPI_COMM_WORLD_RANK=0" in variables else "worker rank"


def num_tiles(database):
    """That are stored; 0 where there is no database yet."""
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM tile").fetchone()[0]
    except sqlite3.Error:
        return 0


class Harness:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="squant-faults-"))
        self.disk = SmallDisk(self.folder / "disk")
        self.random = random.Random(options.seed)
        self.done = collections.Counter()
        self.num_sweeps = self.num_resumes = self.num_hangs = 0
        self.sweeps = {"networks": self.networks(), "photographs": self.photographs()}
        if self.sweeps["photographs"] is None:
            del self.sweeps["photographs"]
            print("SKIPPED: damage to packed pictures (SQUANT_TEST_DATA names no photographs)")
        if not self.disk.mounted:
            print("SKIPPED: a full disk (no right to mount a tmpfs)")
        self.expected = {}

    def networks(self):
        return ["quickstart.json", "--images", "1000", "--set", "dataset.chunk=50", "--where",
                "bits=float,w8a8,w4a4", "--only", "mode=squant"]

    def photographs(self):
        data = os.environ.get("SQUANT_TEST_DATA", "")
        if not data or not pathlib.Path(data, "imagenet-sample").is_dir():
            return None
        file = self.folder / "photographs.json"
        file.write_text(PHOTOGRAPHS % (data, self.folder / "cache", data))
        return [str(file)]

    def command(self, sweep, database, ranks, recovery):
        start = [self.options.mpirun, "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
        if recovery:
            start.append("--enable-recovery")
        program = [str(self.options.build / "bin" / "squant-sweep"), *self.sweeps[sweep]]
        return start + program + ["--db", str(database), "--threads", "1", "--worker-timeout", "3",
                                  "--start-timeout", "40"]

    # --- what must not depend on what happened

    def facts(self, database):
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10) as connection:
            check = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if check != "ok":
                raise Failed(f"integrity_check: {check}")
            overlap = connection.execute(
                "SELECT count(*) FROM tile a JOIN tile b ON a.evaluation_id = b.evaluation_id"
                " AND a.first < b.first AND b.first < a.first + a.count").fetchone()[0]
            if overlap:
                raise Failed(f"{overlap} tiles overlap: images would be counted twice")
            return connection.execute(
                "SELECT model, bits, mode, num_images, num_top1, num_top5, digest FROM results"
                " ORDER BY 1, 2, 3").fetchall()

    def is_work_left(self, database):
        program = self.options.build / "bin" / "squant-results"
        status = subprocess.run([program, "status", "--db", database], capture_output=True, check=False)
        return status.returncode not in (0, 1)

    def undisturbed(self, sweep):
        if sweep not in self.expected:
            database = self.folder / f"undisturbed-{sweep}.sqlite"
            job = Job(self.command(sweep, database, 3, False), self.folder / "undisturbed.log")
            if job.wait(self.options.patience, lambda: num_tiles(database)) not in (0, 1):
                job.kill()
                raise Failed(f"the undisturbed run did not end well: {self.folder}/undisturbed.log")
            self.expected[sweep] = self.facts(database)
        return self.expected[sweep]

    # --- faults

    def strike(self, kind, job):
        below = job.below()
        if not below:
            return
        victim = self.random.choice(below)
        self.done[kind.replace("process", role_of(victim))] += 1
        if kind == "kill -9 of a process":
            send(victim, signal.SIGKILL)
        elif kind == "SIGSTOP of a process":
            send(victim, signal.SIGSTOP)
            time.sleep(self.random.uniform(0.2, 6))
            send(victim, signal.SIGCONT)
        elif kind == "SIGSTOP of the job":
            job.signal(signal.SIGSTOP)
            time.sleep(self.random.uniform(0.2, 6))
            job.signal(signal.SIGCONT)
        elif kind == "kill -9 of the job":
            job.kill()
        elif kind == "SIGTERM":
            send(job.process.pid, signal.SIGTERM)
        elif kind == "SIGUSR1":
            send(job.process.pid, signal.SIGUSR1)
        elif kind == "full disk":
            self.disk.fill()
            time.sleep(self.random.uniform(0.5, 3))
            if self.random.random() < 0.3:
                job.kill()
            self.disk.free()
        elif kind == "damaged cache":
            for file in (self.folder / "cache").glob("*.pixels"):
                self.damage(file)

    def damage(self, file):
        with open(file, "r+b") as pixels:
            for _ in range(20):
                pixels.seek(self.random.randrange(os.path.getsize(file)))
                pixels.write(self.random.randbytes(64))

    def kinds(self, sweep):
        kinds = ["kill -9 of a process"] * 4 + ["SIGSTOP of a process"] * 3
        kinds += ["kill -9 of the job"] * 2 + ["SIGSTOP of the job", "SIGTERM", "SIGUSR1"]
        if sweep == "photographs":
            return kinds + ["damaged cache"] * 8
        return kinds + ["full disk"] * (2 if self.disk.mounted else 0)

    def wait_for_work(self, job, database):
        """Until something new is stored, mostly; sometimes the fault comes during start-up."""
        before = num_tiles(database)
        end = time.time() + (self.random.uniform(0, 2) if self.random.random() < 0.2 else 60)
        while time.time() < end and job.process.poll() is None:
            if num_tiles(database) > before:
                time.sleep(self.random.uniform(0, 0.3))
                return
            time.sleep(0.02)

    def sweep(self, number):
        sweep = self.random.choice(sorted(self.sweeps))
        expected = self.undisturbed(sweep)
        on_disk = sweep == "networks" and self.disk.mounted
        database = (self.disk.folder if on_disk else self.folder) / f"{number}.sqlite"
        log = self.folder / f"{number}.log"
        faults_left = self.random.randint(1, 4)
        for _ in range(12):
            recovery = self.random.random() < 0.5 and not self.options.no_recovery
            job = Job(self.command(sweep, database, self.random.choice([2, 3, 4]), recovery), log)
            try:
                if faults_left > 0:
                    self.wait_for_work(job, database)
                    faults_left -= 1
                    if job.process.poll() is None:
                        self.strike(self.random.choice(self.kinds(sweep)), job)
                code = job.wait(self.options.patience, lambda: num_tiles(database))
                left = job.ours() if code is None else []
            finally:
                job.kill()
            # Open MPI's, not ours: mpirun may stay when all its ranks have ended.
            if code is None and not left:
                self.num_hangs += 1
            elif code is None:
                raise Failed(f"no tile in {self.options.patience} s, and it did not end: {left}")
            # mpirun's own code after a signal says nothing of what is left.
            if code in (0, 1) and faults_left <= 0 and not self.is_work_left(database):
                found = self.facts(database)
                if found != expected:
                    raise Failed(f"other results: {found} instead of {expected}")
                break
            if code == 0:
                faults_left = 0
            self.num_resumes += 1
        else:
            raise Failed("not finished after 12 runs")
        self.num_sweeps += 1
        for suffix in ("", "-wal", "-shm", "-journal"):
            pathlib.Path(str(database) + suffix).unlink(missing_ok=True)

    def run(self):
        began = time.time()
        number = 0
        while sum(self.done.values()) < self.options.faults:
            number += 1
            seed = f"{self.options.seed}-{number}"
            self.random = random.Random(seed)
            try:
                self.sweep(number)
            except Failed as error:
                print(f"FAILED: sweep {number} of --seed {self.options.seed}: {error}")
                print((self.folder / f"{number}.log").read_text(errors="replace")[-4000:])
                return 1
            print(f"sweep {number}: {sum(self.done.values())} faults so far", flush=True)
        print(f"{sum(self.done.values())} faults in {self.num_sweeps} sweeps with"
              f" {self.num_resumes} resumes, {time.time() - began:.0f} s: every database equals the"
              " undisturbed one")
        if self.num_hangs:
            print(f"  {self.num_hangs} times mpirun stayed with no rank left, and was killed")
        for kind, count in sorted(self.done.items()):
            print(f"  {count:4} {kind}")
        return 0

    def close(self, keep):
        self.disk.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("mpirun")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", default=str(random.randrange(10**6)))
    parser.add_argument("--patience", type=float, default=120)
    parser.add_argument("--no-recovery", action="store_true", help="never mpirun --enable-recovery")
    parser.add_argument("--keep", action="store_true", help="leave databases and logs")
    options = parser.parse_args()
    options.build = options.build.resolve()
    if os.geteuid() == 0:
        os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    os.environ["OMPI_MCA_btl_vader_single_copy_mechanism"] = "none"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with the cleaning up
    print(f"seed {options.seed}", flush=True)
    harness = Harness(options)
    code = 1
    try:
        code = harness.run()
    finally:
        harness.close(options.keep or code != 0)
    return code


if __name__ == "__main__":
    sys.exit(main())

"""One cold process: its answer, how long it took to come, the most memory it had, and what others did meanwhile.

What the kernel tells of memory and of load is Linux's /proc; elsewhere those figures are None.
"""
import json
import os
import subprocess
import threading
import time

# Between two looks at a process's memory: short beside a load, and 50 reads a second are no load themselves.
LOOK_S = 0.02


# The exit status of a worker that lacks what it needs (a device, say).
NOT_HERE = 3


class Failed(Exception):
    """The process failed, ran too long, or said nothing."""


class Missing(Exception):
    """What an engine needs is not there."""


def busy_seconds():
    """CPU seconds that the whole machine has spent outside idle and iowait; None where it does not tell."""
    try:
        with open("/proc/stat") as stat:
            fields = [int(field) for field in stat.readline().split()[1:9]]
    except OSError:
        return None
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def wait_quiet(patience, max_other):
    """Returns once others keep at most `max_other` cores busy, or after `patience` seconds."""
    end = time.time() + patience
    while busy_seconds() is not None and time.time() < end:
        before = busy_seconds()
        time.sleep(2)
        if (busy_seconds() - before) / 2 <= max_other:
            return


def resident(pid):
    """Bytes that a process has resident, and how many of them are pages of files; None when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            fields = dict(line.split(":", 1) for line in status if line.startswith("Rss"))
    except OSError:
        return None
    kind = lambda name: int(fields.get(name, "0 kB").split()[0]) * 1024
    return kind("RssAnon") + kind("RssFile") + kind("RssShmem"), kind("RssFile")


class Memory(threading.Thread):
    """Looks at a process until it is told to stop; `peak` is the largest (resident, of files) it saw."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.done = pid, (0, 0), threading.Event()

    def run(self):
        while not self.done.wait(LOOK_S):
            self.peak = max(self.peak, resident(self.pid) or (0, 0))

    def stop(self):
        self.done.set()
        self.join()
        return self.peak


def cold(command, env, log, timeout):
    """The last line of the command's stdout as JSON, and what it took:

    wall_s, answer_s   to the end of the process, and until its last line was there
    cores, other       CPU time of its own, and of all other processes, per second
    peak_rss           the most that was resident, bytes, mapped files included; peak_file: of which pages of files
    """
    before, start, answer = busy_seconds(), time.time(), None
    with open(log, "a") as errors:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, env=dict(os.environ, **env), text=True)
    memory, killer = Memory(process.pid), threading.Timer(timeout, process.kill)
    memory.start()
    killer.start()
    try:
        for line in process.stdout:
            answer, answer_s = line, time.time() - start
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:  # Ctrl-C too: a spinning engine must not stay behind.
        process.kill()
        raise
    finally:
        killer.cancel()
        resident_peak, file_peak = memory.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.time() - start
    words = " ".join(map(str, command))
    if process.returncode == NOT_HERE:
        raise Missing(f"it lacks something here, see {log}")
    if process.returncode or not answer:
        late = f" after {timeout:g} s" if wall >= timeout else ""
        raise Failed(f"ended with {process.returncode}{late}, see {log}: {words}")
    try:
        answer = json.loads(answer)
    except ValueError:
        raise Failed(f"printed no JSON: {words}") from None
    own = usage.ru_utime + usage.ru_stime
    other = max(0.0, (busy_seconds() - before - own) / wall) if before is not None else None
    return answer, {"wall_s": wall, "answer_s": answer_s, "cores": own / wall, "other": other,
                    "peak_rss": resident_peak or None, "peak_file": file_peak if resident_peak else None}

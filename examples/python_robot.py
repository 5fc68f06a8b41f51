#!/usr/bin/env python3
"""A robot's program in Python, with the standard library alone.

It writes NDJSON to its agent's unix socket and asks now and then, with a sync line, what is safe on disk:

    muster-agent --robot demo/python --gateway quic://127.0.0.1:4443 --ca muster-data/ca.pem \
        --spool /tmp/python-spool --input unix:/tmp/python-robot.sock &
    python3 examples/python_robot.py /tmp/python-robot.sock

It goes on when the agent is not there, and connects again when it is back.
"""

import argparse
import json
import math
import socket
import sys
import time


class Agent:
    """The connection to the agent: send() never raises, sync() says how many lines are safe.

    A line is written once. After a sync that was answered with an error the agent still has it, in memory.
    """

    def __init__(self, path):
        self.path = path
        self.stream = None
        self.syncs = 0

    def send(self, *samples):
        """Writes samples as lines; returns whether the agent took them."""
        text = "".join(json.dumps(sample, separators=(",", ":")) + "\n" for sample in samples)
        return self._write(text)

    def sync(self):
        """Returns {"synced", "accepted", "refused"} for this connection, or None without an agent.

        While the agent's disk fails it is {"sync", "error"}: what was sent is kept in memory. Ask again later.
        """
        self.syncs += 1
        if not self._write(json.dumps({"sync": self.syncs}) + "\n"):
            return None
        try:
            for line in self.stream:
                answer = json.loads(line)
                if self.syncs in (answer.get("synced"), answer.get("sync")):
                    return answer
        except (OSError, ValueError):
            pass
        self._lose()
        return None

    def _write(self, text):
        try:
            if self.stream is None:
                link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                link.settimeout(5)
                link.connect(self.path)
                self.stream = link.makefile("rw", encoding="utf-8", newline="\n")
            self.stream.write(text)
            self.stream.flush()
            return True
        except OSError:
            self._lose()
            return False

    def _lose(self):
        if self.stream is not None:
            try:
                self.stream.close()
            except OSError:
                pass
        self.stream = None


def told(answer):
    """What sync() returned, as a sentence."""
    if answer is None:
        return "no agent"
    if "error" in answer:
        return f"kept in memory, not yet on disk ({answer['error']})"
    return f"safe on disk: {answer['accepted']} lines"


def samples(second):
    """What the robot measures: an arm that swings, and a battery that empties. The agent stamps what has no t."""
    angle = math.sin(second)
    yield {"ch": "arm", "v": {"angle": angle, "velocity": math.cos(second), "moving": abs(angle) < 0.99}, "unit": "rad"}
    yield {"ch": "battery", "v": {"soc": max(0.0, 1.0 - second / 3600), "cells": [3.7, 3.71, 3.69]}}


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("socket", help="the agent's unix socket, as in --input unix:SOCKET")
    words.add_argument("--seconds", type=float, default=float("inf"), help="end after this time")
    words.add_argument("--rate", type=float, default=10.0, help="messages a second")
    args = words.parse_args()

    agent = Agent(args.socket)
    started = last_sync = time.monotonic()
    agent.send({"ch": "event", "v": "started", "lane": "urgent"})
    while (passed := time.monotonic() - started) < args.seconds:
        agent.send(*samples(passed))
        if time.monotonic() - last_sync > 2:
            last_sync = time.monotonic()
            print(told(agent.sync()), flush=True)
        time.sleep(1 / args.rate)
    answer = agent.sync()
    if answer is None:
        sys.exit("error: the agent did not answer; start it with --input unix:" + args.socket)
    if "error" in answer:
        sys.exit("error: " + told(answer))
    print(f"done: {answer['accepted']} lines accepted, {answer['refused']} refused")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass

"""Does what it is told, good or bad; `config.mode` says what."""

import os
import signal
import subprocess
import socket
import sys
import time

import host_plugin
from host_plugin import Backend, Choice, Completion, PluginError, TokenLogprob, Usage, run


def attempt(work):
    """`done`, or why not."""
    try:
        work()
    except OSError as error:
        return error.strerror.lower()
    return "done"


class Trial(Backend):
    asked = 0

    def __init__(self, config, host):
        super().__init__(config, host)
        self.mode = config.get("mode", "echo")
        if self.mode == "refuse":
            raise PluginError("other", "not today")
        if self.mode == "broken":
            raise KeyError("nothing")
        if self.mode == "die_at_open":
            sys.exit(7)

    async def generate(self, request, io):
        self.asked += 1
        says = request.messages()[0].text()
        if self.asked == self.config.get("after", self.asked):
            says = await getattr(self, self.mode)(says, io) or says
        if isinstance(says, Completion):
            return says
        if self.mode != "no_answer":
            return Completion(says)

    async def echo(self, says, io):
        pass

    async def exit(self, says, io):
        sys.exit(3)

    async def kill(self, says, io):
        signal.raise_signal(signal.SIGKILL)

    async def abort(self, says, io):
        os.abort()

    async def eat_memory(self, says, io):
        # Python makes an exception of it.
        return "x" * (4 << 30)

    async def garbage(self, says, io):
        os.write(host_plugin._STREAMS[1], b"I am no frame, I am a text.")
        await io.wait(100)

    async def raise_error(self, says, io):
        raise ValueError("a fault of mine")

    async def no_answer(self, says, io):
        pass

    async def no_number(self, says, io):
        return Completion(choices=[Choice(says, logprobs=[TokenLogprob(says, True)])])

    async def half_a_token(self, says, io):
        return Completion(says, usage=Usage(12.5, 3))

    async def no_reason(self, says, io):
        return Completion(says, finish_reason=None)

    async def no_text(self, says, io):
        return Completion(None)

    async def wrong_choices(self, says, io):
        return Completion(choices=[{"text": says}])

    async def late(self, says, io):
        raise PluginError("rate_limited", "later", retry_after_ms="soon")

    async def whole_floats(self, says, io):
        return Completion(says, usage=Usage(12.0, 3))

    async def limited(self, says, io):
        raise PluginError("rate_limited", "later", http_status=429.0, retry_after_ms=100.5)

    async def half_a_character(self, says, io):
        return Completion("half of one: \ud83d")

    async def asyncio(self, says, io):
        import types

        @types.coroutine
        def foreign():
            yield "a future"

        await foreign()

    async def hang(self, says, io):
        while True:
            pass

    async def print(self, says, io):
        print("trial to stdout")
        print("trial to stderr", file=sys.stderr)
        os.write(1, b"trial to the descriptor\n")

    async def wait(self, says, io):
        self.waiting = getattr(self, "waiting", 0) + 1
        # Nobody goes on before all are there.
        while self.waiting < self.config["count"]:
            await io.wait(0.01)

    async def wait_for_ever(self, says, io):
        await io.wait(1000)

    async def thread(self, says, io):
        threaded = await io.gather(*[io.in_thread(str.upper, says) for _ in range(3)])
        assert threaded == [says.upper()] * 3
        await io.turn()

    async def delay(self, says, io):
        await io.wait(0.02)

    async def environment(self, says, io):
        return " ".join(sorted(name for name in os.environ if name != "LC_CTYPE"))

    async def connect(self, says, io):
        return attempt(lambda: socket.create_connection(("127.0.0.1", self.config["port"])))

    async def fork(self, says, io):
        return attempt(os.fork)

    async def start_program(self, says, io):
        return attempt(lambda: subprocess.run(["/bin/true"]))

    async def read_file(self, says, io):
        return attempt(lambda: open("/etc/passwd"))

    async def read_neighbour(self, says, io):
        return attempt(lambda: open(os.path.join(os.path.dirname(__file__), "unnamed.txt")))

    async def write_file(self, says, io):
        return attempt(lambda: open("/tmp/host-script-trial", "w"))

    async def write_own(self, says, io):
        return attempt(lambda: open(__file__, "a"))

    async def signal(self, says, io):
        return attempt(lambda: os.kill(os.getppid(), 0))

    async def forbidden(self, says, io):
        await io.post("https://forbidden.invalid/", json={})


run(Trial)

# SPDX-License-Identifier: Apache-2.0
"""The same work with OpenAI's Agents SDK for Python: lines "sample CASE SIDE VALUE" like those of
bench/*.c, for the server at OPENAI_BASE_URL (bench/mockmodel).

usage: agents_python.py turns N | deltas N | beside N"""
import asyncio, gc, resource, sys, time

from agents import Agent, Runner, function_tool, set_tracing_disabled


@function_tool
def add(a: int, b: int) -> int:
    """Adds two integers."""
    return a + b


def agent(model):
    return Agent(name="adder", instructions="You add numbers with the tool and say the sum.", model=model, tools=[add])


def sample(case, value):
    print("sample", case, "python", round(value, 6), flush=True)


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory_kib(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key))


async def run(model, replies):
    done = await Runner.run(agent(model), "Add.", max_turns=1000000)
    assert len(done.raw_responses) == replies, len(done.raw_responses)


async def turns(n):
    await run("tools-3", 4)
    gc.collect()
    began, cpu = time.perf_counter(), cpu_s()
    await run(f"tools-{n}", n + 1)
    sample(f"plain-{n}", (cpu_s() - cpu) * 1e6 / (n + 1))
    sample(f"plain-{n}-wall", (time.perf_counter() - began) * 1e6 / (n + 1))


async def deltas(n):
    for size, is_told in ((100, False), (n, True)):
        cpu, seen = cpu_s(), 0
        async for event in Runner.run_streamed(agent(f"stream-{size}"), "Go.").stream_events():
            seen += event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        assert seen == size, seen
        if is_told:
            sample("deltas", (cpu_s() - cpu) * 1e6 / size)


async def beside(n):
    await run("tools-3", 4)
    gc.collect()
    start, began, cpu = memory_kib("VmRSS:"), time.perf_counter(), cpu_s()
    await asyncio.gather(*(run("tools-10@50ms", 11) for _ in range(n)))
    sample("peer-rate", n / (time.perf_counter() - began))
    sample("peer-cpu", (cpu_s() - cpu) * 1e3 / n)
    sample("peer-kib", (memory_kib("VmHWM:") - start) / n)


set_tracing_disabled(True)
asyncio.run({"turns": turns, "deltas": deltas, "beside": beside}[sys.argv[1]](int(sys.argv[2])))

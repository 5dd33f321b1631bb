"""What a type checker must accept."""

from typing import assert_type

from jobq import JobHandle, Queue, current_job, handler


@handler("send", retries=5, timeout="2m", retry_on=ConnectionError)
def send(to: str, copies: int = 1) -> list[str]:
    return [to] * copies


@handler
def double(n: int) -> int:
    return 2 * n


def plain(key: str) -> float:
    return float(key)


assert_type(double(2), int)
assert_type(send.enqueue("a@b.c", copies=2), JobHandle[list[str]])
assert_type(send.using(key="k", delay="1m", store=Queue()).enqueue("a").wait(timeout=60).result, list[str])
assert_type(handler(plain).enqueue("k"), JobHandle[float])
assert_type(current_job().step("n", double, 2), int)
Queue().call(plain, ["k"], retries=0)
Queue().call("module:function", [1], {"a": 2}, no_retry_on=(ValueError, "TypeError"))


@handler
async def later(n: int) -> str:
    return str(n)


assert_type(later.enqueue(1).result, str)


async def wait() -> None:
    assert_type((await double.enqueue(1)).result, int)

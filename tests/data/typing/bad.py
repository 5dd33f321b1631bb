"""What a type checker must refuse, on every line that is marked."""

from jobq import Queue, current_job, handler


@handler(retries=5)
def send(to: str, copies: int = 1) -> list[str]:
    return [to] * copies


send(5)  # error: arg-type
send.enqueue()  # error: call-arg
send.enqueue("a", copies="2")  # error: arg-type
send.enqueue("a", key="k")  # error: call-arg
send.using(no_such_option=1)  # error: call-arg
send.using(retries="many")  # error: arg-type
handler("name", timeout=["2m"])  # error: call-overload
Queue().call(send, "text", tries=3)  # error: call-arg
current_job().step("n", send, 5)  # error: call-overload
n: int = send.enqueue("a").result  # error: assignment

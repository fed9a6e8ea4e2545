import asyncio

from server.waiters import Waiters


async def test_those_who_wait_for_an_id_are_woken_and_no_others() -> None:
    waiters = Waiters()
    first, second, other = [waiters.register(each) for each in ("cat", "cat", "dog")]
    waiters.tell("cat")
    assert [each.done() for each in (first, second, other)] == [True, True, False]


async def test_news_may_come_twice_late_or_to_nobody() -> None:
    waiters = Waiters()
    waiters.tell("cat")
    news = waiters.register("cat")
    assert not news.done()
    waiters.tell("cat")
    waiters.tell("cat")
    assert news.done()


async def test_one_who_was_cancelled_keeps_the_others_from_nothing() -> None:
    waiters = Waiters()
    leaving, staying = waiters.register("cat"), waiters.register("cat")
    leaving.cancel()
    waiters.tell("cat")
    assert staying.done()
    assert not staying.cancelled()


async def test_one_who_waits_no_longer_is_not_woken_and_leaves_nothing() -> None:
    waiters = Waiters()
    leaving, staying = waiters.register("cat"), waiters.register("cat")
    waiters.forget("cat", leaving)
    waiters.tell("cat")
    assert (leaving.done(), staying.done()) == (False, True)
    waiters.forget("cat", staying)
    assert not waiters._waiting


async def test_asking_for_news_of_nobody_leaves_nothing() -> None:
    waiters = Waiters()
    for number in range(1000):
        waiters.tell(f"{number}")
    assert not waiters._waiting


async def test_everyone_is_woken_when_the_server_stops_now_and_later() -> None:
    waiters = Waiters()
    waiting = [waiters.register(each) for each in ("cat", "cat", "dog")]
    asleep = asyncio.gather(*waiting)
    waiters.close()
    await asyncio.wait_for(asleep, 1)
    late = waiters.register("bird")
    assert late.done()
    for request_id, news in zip(("cat", "cat", "dog", "bird"), [*waiting, late], strict=True):
        waiters.forget(request_id, news)
    assert not waiters._waiting

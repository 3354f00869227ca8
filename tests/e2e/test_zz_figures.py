import time
from infra import dead_letters, dead_operations
from infra.dead_operations import Order
from contracts.tiers import Tier
from tests.e2e.test_dead import OTHERS, ONCE_BROKEN, _forgotten, _letters
from tests.factories import Factory, eventually

async def test_figures(factory: Factory) -> None:
    await factory.client(tier=Tier.ENTERPRISE)
    await factory.template("shaky", [{"name": "find"}, ONCE_BROKEN])
    coordinator = factory.coordinator()
    worker = factory.worker()
    await _forgotten(factory, "shaky", 100)
    await factory.all_over(100, 200)
    await factory.fetch(OTHERS, 3500)
    await factory.fetch("ANALYZE dead_letters")
    async with factory.pool.acquire() as c:
        for sel, n in (({"status": "open"}, 50), ({"status": "open", "client": "client3", "reason": "unknown_template"}, 50), ({"status":"open"}, 10000)):
            t = time.monotonic(); rows = await dead_letters.listing(c, sel, n); print(sel, len(rows), f"{time.monotonic()-t:.3f} s")
        t = time.monotonic(); await dead_letters.tally(c, {"status": "open"}); print("tally", f"{time.monotonic()-t:.3f}")
        t = time.monotonic(); op = await dead_operations.start(c, Order("requeue", "me", {"template": "shaky"}, canary=5)); print("start", f"{time.monotonic()-t:.3f}")
    async def over(op):
        async with factory.pool.acquire() as c:
            (one,) = await dead_operations.listing(c, op)
        return one if one.status not in ("running", "canary") else None
    one = await eventually(lambda: over(op), "done", 300)
    print("steps", one.status, one.done, f"{time.monotonic()-t:.1f} s, canary took {(one.proved_at-one.created_at).total_seconds():.1f} s, rest {(one.finished_at-one.proved_at).total_seconds():.1f} s")
    await factory.template("other", [{"name": "find"}])
    async with factory.pool.acquire() as c:
        t = time.monotonic(); op = await dead_operations.start(c, Order("discard", "me", {"template": "other", "client": "client1"}))
        op2 = await dead_operations.start(c, Order("requeue", "me", {"template": "other"})); print("start", f"{time.monotonic()-t:.3f}")
    one = await eventually(lambda: over(op), "done", 300)
    print("discard", one.done, (one.finished_at-one.created_at).total_seconds())
    one = await eventually(lambda: over(op2), "done", 300)
    print("messages", one.done, (one.finished_at-one.created_at).total_seconds())

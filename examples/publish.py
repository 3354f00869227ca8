"""Submits a job with plain AMQP, prints the answer and the result: python publish.py AMQP_URL CLIENT TEMPLATE TOPIC"""

import asyncio
import json
import sys
import uuid

import aio_pika


async def main(url: str, client: str, template: str, topic: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        replies = await channel.declare_queue(exclusive=True)
        job = {"submit_key": uuid.uuid4().hex, "client": client, "template": template, "parameters": {"topic": topic}}
        body, user = json.dumps(job).encode(), aio_pika.connection.make_url(url).user
        durable = aio_pika.DeliveryMode.PERSISTENT
        message = aio_pika.Message(body, type="SubmitJob", reply_to=replies.name, user_id=user, delivery_mode=durable)
        await (await channel.get_exchange("factory.jobs", ensure=False)).publish(message, "job.basic", timeout=10)
        async for answer in replies.iterator(no_ack=True):
            print(answer.type, json.dumps(json.loads(answer.body), indent=2))
            if answer.type in ("JobRejected", "ExecutionFinished"):
                break


asyncio.run(main(*sys.argv[1:]))

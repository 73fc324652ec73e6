"""Acme's API: the example of the guide to script plugins."""

from host_plugin import Backend, Completion, Likelihood, PluginError, Usage, run


class Acme(Backend):
    def ask(self, path, body):
        key = ("authorization", "Bearer ", "api_key")
        return {"url": self.config["base_url"] + path, "json": body, "secret": key}

    async def generate(self, request, io):
        body = {"prompt": request.text(), "limit": request.max_tokens}
        if request.stream:
            return await self.streamed(body, io)
        reply = await io.post(**self.ask("/complete", body), check=False)
        if reply.status == 402:
            raise PluginError("unauthorized", "the account is empty", http_status=402)
        answer = reply.check().json()
        reason = {"limit": "length"}.get(answer["ended_by"], answer["ended_by"])
        return Completion(answer["text"], reason, usage=Usage(*answer["tokens"]))

    async def streamed(self, body, io):
        text = ""
        async for event in io.stream(**self.ask("/stream", body)).events():
            io.delta(event.data)
            text += event.data
        return Completion(text)

    async def loglikelihood(self, request, io):
        async def score(continuation):
            reply = await io.post(**self.ask("/score", [request.text(), continuation]))
            return Likelihood(reply.json(), tokens=max(1, len(continuation.split())))

        return await io.gather(*[score(each) for each in request.continuations])


run(Acme)

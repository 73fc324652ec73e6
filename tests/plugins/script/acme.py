"""Acme's API: the example of the guide to script plugins."""

from host_plugin import Backend, Completion, Likelihood, PluginError, Usage, run


def completion(reply):
    """What a reply says; one of another shape is no answer."""
    try:
        text, reason, tokens = reply["text"], reply["ended_by"], reply["tokens"]
        prompt, generated = map(int, tokens)
    except (KeyError, TypeError, ValueError) as error:
        raise PluginError("unexpected_reply", f"no completion: {error!r}") from None
    if not isinstance(text, str) or not isinstance(reason, str):
        raise PluginError("unexpected_reply", "a completion whose text or end is none")
    return Completion(text, {"limit": "length"}.get(reason, reason), usage=Usage(prompt, generated))


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
        return completion(reply.check().json())

    async def streamed(self, body, io):
        text = ""
        async for event in io.stream(**self.ask("/stream", body)).events():
            io.delta(event.data)
            text += event.data
        if not text:
            raise PluginError("unexpected_reply", "a stream without text")
        return Completion(text)

    async def loglikelihood(self, request, io):
        async def score(continuation):
            logprob = (await io.post(**self.ask("/score", [request.text(), continuation]))).json()
            if not isinstance(logprob, float) or logprob > 0:
                raise PluginError("unexpected_reply", f"no log-probability: {logprob!r}")
            return Likelihood(logprob, tokens=max(1, len(continuation.split())))

        return await io.gather(*[score(each) for each in request.continuations])


run(Acme)

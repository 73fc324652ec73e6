"""A backend for a server that speaks OpenAI's chat and completions."""

from host_plugin import Backend, Choice, Completion, Health, PluginError, Usage, run


def asked(request, model):
    """The path and the body of a request. Pure."""
    body = {"model": model, "n": request.n}
    if isinstance(request.prompt, str):
        path, body["prompt"] = "/v1/completions", request.prompt
    else:
        path = "/v1/chat/completions"
        body["messages"] = [{"role": one.role, "content": one.text()} for one in request.prompt]
    for name in ("max_tokens", "temperature", "top_p", "seed"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.stop:
        body["stop"] = list(request.stop)
    # What the run file gives for this vendor alone stands above what it gives for all.
    return path, {**body, **request.extra}


def answered(reply):
    """What a reply says. Pure; a reply of another shape is no answer."""
    try:
        choices = [choice(one) for one in reply["choices"]]
        usage = reply.get("usage") or {}
        counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    except (AttributeError, KeyError, TypeError) as error:
        raise PluginError("unexpected_reply", f"no completion: {error!r}") from error
    counts = [count if isinstance(count, int) and count >= 0 else None for count in counts]
    if not choices:
        raise PluginError("unexpected_reply", "a completion without choices")
    return Completion(choices=choices, usage=Usage(*counts))


def choice(one):
    text = one["message"]["content"] if "message" in one else one["text"]
    reason = one["finish_reason"]
    if not isinstance(text, str) or not isinstance(reason, str):
        raise TypeError("text and finish_reason are to be strings")
    return Choice(text, reason)


class Plugin(Backend):
    def ask(self, path, **more):
        url = self.config["base_url"].rstrip("/") + path
        if "api_key" in self.host.secrets:
            # The host fills it in: the value never comes here.
            more["secret"] = ("authorization", "Bearer ", "api_key")
        return {"url": url, **more}

    async def generate(self, request, io):
        path, body = asked(request, self.config["model"])
        reply = await io.post(**self.ask(path, json=body))
        return answered(reply.json())

    async def health(self, io):
        await io.get(**self.ask("/v1/models"))
        return Health(ready=True)


if __name__ == "__main__":
    run(Plugin)

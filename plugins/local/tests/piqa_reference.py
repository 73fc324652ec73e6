"""Scores PIQA with llama.cpp, for comparison with the engine of this crate.

Why: an independent implementation, run once, whose figures are committed. It goes through llama.cpp's own
tokenizer and `llama_decode`, not through a server, because servers' echoed log-probabilities are unreliable.

    pip install llama-cpp-python numpy
    python piqa_reference.py MODEL.gguf valid.jsonl piqa_llama_cpp.jsonl

Each sample's line is {"index": i, "ll": [a, b], "tokens": [n, m]}: sum of ln p and number of tokens of each
continuation. Context `Question: {goal}\nAnswer:`, continuations ` {sol1}` and ` {sol2}`; the boundary rule of
lm-eval's `_encode_pair`. With --tokens, the ids of every whole text are written to that file as well.

llama.cpp rounds activations to 8 bits to multiply them with quantised weights, and the cache to 16, which moves a
sum by some tenths of a nat. To compare arithmetic, and not rounding, dequantise the GGUF to f32 first (with the
`gguf` package) and pass --exact, which keeps the cache in f32 too; `piqa_llama_cpp_f32.jsonl` comes from that.
"""

import argparse
import hashlib
import json

import llama_cpp
import numpy as np


class Scorer:
    """One model and one context; every call starts from an empty cache."""

    def __init__(self, path, context_tokens, threads, exact):
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context_tokens
        params.n_threads = params.n_threads_batch = threads
        if exact:
            params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.batch = llama_cpp.llama_batch_init(context_tokens, 0, 1)
        self.capacity = context_tokens

    def tokenize(self, text):
        raw = text.encode()
        ids = (llama_cpp.llama_token * (len(raw) + 8))()
        count = llama_cpp.llama_tokenize(self.vocab, raw, len(raw), ids, len(ids), True, True)
        assert count >= 0
        return list(ids[:count])

    def log_likelihood(self, context_ids, continuation_ids):
        ids = (context_ids + continuation_ids)[:-1]
        assert len(ids) <= self.capacity
        first = len(context_ids) - 1
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        self.batch.n_tokens = len(ids)
        for position, token in enumerate(ids):
            self.batch.token[position] = token
            self.batch.pos[position] = position
            self.batch.n_seq_id[position] = 1
            self.batch.seq_id[position][0] = 0
            self.batch.logits[position] = position >= first
        assert llama_cpp.llama_decode(self.context, self.batch) == 0
        total = 0.0
        for offset, token in enumerate(continuation_ids):
            pointer = llama_cpp.llama_get_logits_ith(self.context, first + offset)
            logits = np.ctypeslib.as_array(pointer, shape=(self.vocab_size,)).astype(np.float64)
            top = logits.max()
            total += logits[token] - top - np.log(np.exp(logits - top).sum())
        return float(total)


def encode_pair(scorer, context, continuation):
    spaces = len(context) - len(context.rstrip())
    if spaces:
        continuation = context[-spaces:] + continuation
        context = context[:-spaces]
    whole = scorer.tokenize(context + continuation)
    context_ids = scorer.tokenize(context)
    return context_ids, whole[len(context_ids):], whole


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model")
    arguments.add_argument("data")
    arguments.add_argument("out")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--limit", type=int)
    arguments.add_argument("--tokens")
    arguments.add_argument("--exact", action="store_true")
    options = arguments.parse_args()

    scorer = Scorer(options.model, 1024, options.threads, options.exact)
    probe = encode_pair(scorer, "The capital of France is", " Paris")
    print("ln P( Paris | The capital of France is) =", scorer.log_likelihood(probe[0], probe[1]))
    with open(options.model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    header = {"engine": "llama.cpp", "binding": "llama-cpp-python", "version": llama_cpp.__version__,
              "model_sha256": digest}
    tokens = open(options.tokens, "w") if options.tokens else None
    with open(options.data) as data, open(options.out, "w") as out:
        print(json.dumps(header), file=out)
        for index, line in enumerate(data):
            if options.limit is not None and index >= options.limit:
                break
            sample = json.loads(line)
            context = f"Question: {sample['goal']}\nAnswer:"
            pairs = [encode_pair(scorer, context, " " + sample[key]) for key in ("sol1", "sol2")]
            sums = [round(scorer.log_likelihood(c, t), 6) for c, t, _ in pairs]
            print(json.dumps({"index": index, "ll": sums, "tokens": [len(t) for _, t, _ in pairs]}), file=out,
                  flush=True)
            if tokens:
                for _, _, whole in pairs:
                    print(json.dumps(whole), file=tokens, flush=True)


if __name__ == "__main__":
    main()

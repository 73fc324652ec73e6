/*
 * A complete backend in plain C, against nothing but host_plugin.h.
 *
 * It answers a text prompt with the prompt itself; if the configuration has a "url", it POSTs the
 * prompt there and answers with the body of the reply. Chat prompts and other requests are
 * `unsupported`.
 *
 *     cc -std=c11 -shared -fPIC -I plugin-api/include -o libmy_plugin.so plugin-api/examples/echo.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host_plugin.h"

HOST_PLUGIN_MANIFEST(
    "{\"format\":1,\"version\":\"0.1.0\",\"abi\":{\"major\":1,\"minor\":0},\"license\":\"MIT\","
    "\"layout_check\":false,"
    "\"plugin\":{\"id\":\"my-plugin\",\"capabilities\":[\"generate\"]},"
    "\"config_schema\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"url\":{\"type\":\"string\","
    "\"description\":\"Who answers; without it the prompt is the answer.\"}}}}");

struct host_plugin_backend {
    char *url; /* null: answer without a request */
};

struct host_plugin_session {
    const host_plugin_backend *backend;
};

/* ---- as much JSON as this plugin needs: a real one would use a library ---------------------- */

/* Where the value of `key` begins, after the colon; null if the key is not there. */
static const char *find(host_plugin_bytes json, const char *key) {
    size_t length = strlen(key);
    for (size_t at = 0; at + length + 3 <= json.len; at++) {
        const char *here = (const char *)json.ptr + at;
        if (here[0] == '"' && memcmp(here + 1, key, length) == 0 && here[length + 1] == '"' &&
            here[length + 2] == ':') {
            return here + length + 3;
        }
    }
    return NULL;
}

static const char *end_of(host_plugin_bytes bytes) {
    return (const char *)bytes.ptr + bytes.len;
}

/* Reads a number; moves `at` behind it. 0 if there is none. */
static int number(const char **at, const char *end, size_t *value) {
    const char *begin = *at;
    *value = 0;
    while (*at < end && **at >= '0' && **at <= '9') {
        if (*value > SIZE_MAX / 10 - 1) {
            return 0;
        }
        *value = *value * 10 + (size_t)(**at - '0');
        ++*at;
    }
    return *at > begin;
}

/* Reads the span [offset, length] under `key` and checks it against the body. */
static int span(host_plugin_message message, const char *key, host_plugin_bytes *text) {
    const char *at = find(message.head, key), *end = end_of(message.head);
    size_t offset, length;
    if (at == NULL || at >= end || *at++ != '[' || !number(&at, end, &offset) || at >= end ||
        *at++ != ',' || !number(&at, end, &length) || at >= end || *at != ']') {
        return 0;
    }
    if (offset > message.body.len || length > message.body.len - offset) {
        return 0;
    }
    text->ptr = message.body.ptr + offset;
    text->len = length;
    return 1;
}

/* ---- actions --------------------------------------------------------------------------------- */

static void release(uint8_t *ptr, size_t len, size_t cap) {
    (void)len;
    (void)cap;
    free(ptr);
}

/* A copy that the receiver releases. */
static host_plugin_buf copy(host_plugin_bytes bytes) {
    host_plugin_buf buf = { NULL, 0, 0, NULL };
    if (bytes.len > 0 && (buf.ptr = malloc(bytes.len)) != NULL) {
        memcpy(buf.ptr, bytes.ptr, bytes.len);
        buf.len = buf.cap = bytes.len;
        buf.free = release;
    }
    return buf;
}

static host_plugin_bytes text_of(const char *text) {
    host_plugin_bytes bytes = { (const uint8_t *)text, strlen(text) };
    return bytes;
}

static void push(const host_plugin_sink *sink, const char *head, host_plugin_bytes body) {
    (void)sink->push(sink->ctx, text_of(head), copy(body));
}

static int32_t fail(const host_plugin_sink *sink, const char *kind, const char *message) {
    char head[256];
    host_plugin_bytes nothing = { NULL, 0 };
    (void)snprintf(head, sizeof head, "{\"fail\":{\"kind\":\"%s\",\"message\":\"%s\"}}", kind,
                   message);
    push(sink, head, nothing);
    return HOST_PLUGIN_FAILED;
}

/* One choice, whose text is the whole body. */
static void done(const host_plugin_sink *sink, host_plugin_bytes text) {
    char head[256];
    (void)snprintf(head, sizeof head,
                   "{\"done\":{\"item\":0,\"answer\":{\"completion\":{\"choices\":"
                   "[{\"text\":[0,%zu],\"finish_reason\":\"stop\"}]}}}}",
                   text.len);
    push(sink, head, text);
}

static void http(const host_plugin_sink *sink, const char *url, host_plugin_bytes prompt) {
    char head[1200];
    (void)snprintf(head, sizeof head,
                   "{\"http\":{\"call\":\"1\",\"method\":\"POST\",\"url\":\"%s\","
                   "\"headers\":[[\"content-type\",\"text/plain\"]]}}",
                   url);
    push(sink, head, prompt);
}

/* ---- the table ------------------------------------------------------------------------------- */

static int32_t echo_open(host_plugin_message config, const host_plugin_host *host, uint64_t instance,
                         host_plugin_backend **out, host_plugin_buf *err) {
    (void)instance;
    host_plugin_backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL) {
        *err = copy(text_of("out of memory"));
        return HOST_PLUGIN_FAILED;
    }
    const char *at = find(config.head, "url"), *end = end_of(config.head);
    if (at != NULL && at < end && *at == '"') {
        const char *begin = at + 1, *stop = memchr(begin, '"', (size_t)(end - begin));
        size_t length = stop == NULL ? 0 : (size_t)(stop - begin);
        if (stop == NULL || length > 1000 || memchr(begin, '\\', length) != NULL ||
            (backend->url = calloc(1, length + 1)) == NULL) {
            free(backend);
            *err = copy(text_of("config.url: expected a URL of at most 1000 plain characters"));
            return HOST_PLUGIN_FAILED;
        }
        memcpy(backend->url, begin, length);
    }
    if (HOST_PLUGIN_HAS(host, log) && host->log != NULL) {
        host->log(host->ctx, HOST_PLUGIN_LOG_INFO, text_of("my-plugin is open"));
    }
    *out = backend;
    return HOST_PLUGIN_OK;
}

static void echo_close(host_plugin_backend *backend) {
    free(backend->url);
    free(backend);
}

static int32_t echo_begin(host_plugin_backend *backend, uint64_t token, host_plugin_session **out,
                          host_plugin_buf *err) {
    (void)token;
    host_plugin_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        *err = copy(text_of("out of memory"));
        return HOST_PLUGIN_FAILED;
    }
    session->backend = backend;
    *out = session;
    return HOST_PLUGIN_OK;
}

static int32_t echo_step(host_plugin_session *session, host_plugin_message event,
                         const host_plugin_sink *sink) {
    if (find(event.head, "start") != NULL) {
        host_plugin_bytes prompt;
        if (find(event.head, "generate") == NULL || find(event.head, "prompt") == NULL) {
            return fail(sink, "unsupported", "this backend only generates");
        }
        if (find(event.head, "messages") != NULL) {
            return fail(sink, "unsupported", "this backend takes text, not messages");
        }
        if (!span(event, "text", &prompt)) {
            return fail(sink, "protocol", "the prompt is no text inside the body");
        }
        if (session->backend->url != NULL) {
            http(sink, session->backend->url, prompt);
        } else {
            done(sink, prompt);
        }
        return HOST_PLUGIN_OK;
    }
    if (find(event.head, "reply") != NULL) {
        const char *at = find(event.head, "status");
        size_t status;
        if (at == NULL || !number(&at, end_of(event.head), &status)) {
            return fail(sink, "protocol", "a reply without a status");
        }
        if (status != 200) {
            return fail(sink, "unexpected_reply", "the status is not 200");
        }
        done(sink, event.body);
        return HOST_PLUGIN_OK;
    }
    if (find(event.head, "transport_error") != NULL) {
        return fail(sink, "transport", "the request failed");
    }
    return fail(sink, "protocol", "an event that was not asked for");
}

static void echo_end(host_plugin_session *session) {
    free(session);
}

static const void *echo_extension(host_plugin_bytes id) {
    (void)id;
    return NULL;
}

static const host_plugin_table table = {
    sizeof(host_plugin_table), echo_open, echo_close, echo_begin, echo_step, echo_end, echo_extension,
};

static const host_plugin_table *echo_table(void) {
    return &table;
}

HOST_PLUGIN_ENTRY(echo_table);

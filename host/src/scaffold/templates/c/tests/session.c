/* Drives sessions as the host would: events in, actions out. */
#undef NDEBUG
#include <assert.h>

#include "../src/my_plugin.c"

/* The last action. */
static char head[2000], body[2000];

static int32_t keep(void *ctx, host_plugin_bytes action, host_plugin_buf with) {
    (void)ctx;
    assert(action.len < sizeof head && with.len < sizeof body);
    memcpy(head, action.ptr, action.len);
    head[action.len] = 0;
    if (with.len > 0) {
        memcpy(body, with.ptr, with.len);
    }
    body[with.len] = 0;
    if (with.free != NULL) {
        with.free(with.ptr, with.len, with.cap);
    }
    return HOST_PLUGIN_OK;
}

static const host_plugin_sink sink = { sizeof sink, NULL, keep };

static host_plugin_message message(const char *json, const char *text) {
    host_plugin_message both = { text_of(json), text_of(text) };
    return both;
}

/* A backend with this configuration. */
static host_plugin_backend *opened(const char *config) {
    host_plugin_backend *backend = NULL;
    host_plugin_buf error = { NULL, 0, 0, NULL };
    host_plugin_host host = { 0 };
    host.size = sizeof(size_t); /* a host that has nothing else */
    assert(host_plugin_entry.plugin()->open(message(config, ""), &host, 1, &backend, &error) ==
           HOST_PLUGIN_OK);
    return backend;
}

/* One session that gets one event, and a second one if there is one. */
static int32_t ask(const char *config, const char *start, const char *prompt, const char *reply,
                   const char *answer) {
    const host_plugin_table *plugin = host_plugin_entry.plugin();
    host_plugin_backend *backend = opened(config);
    host_plugin_session *session = NULL;
    host_plugin_buf error = { NULL, 0, 0, NULL };
    assert(plugin->begin(backend, 1, &session, &error) == HOST_PLUGIN_OK);
    int32_t status = plugin->step(session, message(start, prompt), &sink);
    if (reply != NULL) {
        assert(status == HOST_PLUGIN_OK && strstr(head, "{\"http\":") == head);
        assert(strcmp(body, prompt) == 0);
        status = plugin->step(session, message(reply, answer), &sink);
    }
    plugin->end(session);
    plugin->close(backend);
    return status;
}

#define TEXT "{\"start\":{\"requests\":[{\"generate\":{\"prompt\":{\"text\":[0,5]}}}]}}"
#define WRONG "{\"start\":{\"requests\":[{\"generate\":{\"prompt\":{\"text\":[0,6]}}}]}}"
#define CHAT "{\"start\":{\"requests\":[{\"generate\":{\"prompt\":{\"messages\":[]}}}]}}"
#define URL "{\"config\":{\"url\":\"http://server/\"}}"

int main(void) {
    assert(ask("{\"config\":{}}", TEXT, "hello", NULL, NULL) == HOST_PLUGIN_OK);
    assert(strstr(head, "\"text\":[0,5]") != NULL && strcmp(body, "hello") == 0);

    assert(ask("{\"config\":{}}", CHAT, "", NULL, NULL) == HOST_PLUGIN_FAILED);
    assert(strstr(head, "\"unsupported\"") != NULL);

    /* A span beyond the body is the host's fault, and must not be read. */
    assert(ask("{\"config\":{}}", WRONG, "hello", NULL, NULL) == HOST_PLUGIN_FAILED);
    assert(strstr(head, "\"protocol\"") != NULL);

    const char *well = "{\"reply\":{\"call\":\"1\",\"status\":200,\"headers\":[]}}";
    assert(ask(URL, TEXT, "hello", well, "hi") == HOST_PLUGIN_OK);
    assert(strcmp(body, "hi") == 0);
    const char *ill = "{\"reply\":{\"call\":\"1\",\"status\":500,\"headers\":[]}}";
    assert(ask(URL, TEXT, "hello", ill, "") == HOST_PLUGIN_FAILED);
    assert(strstr(head, "\"unexpected_reply\"") != NULL);
    puts("all sessions went as they should");
    return 0;
}

/*
 * A plugin in C with one fault, for the tests of broken plugins: what the SDK for Rust does not let an author do. It is
 * built with
 *
 *     -DFAULT=OPEN_FAILS -DID="\"open_fails\""
 *
 * and does nothing wrong but for the fault: it answers every request with the text "C".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host_plugin.h"

enum fault {
    NONE,
    /* While it is loaded, before any function of the contract is called. */
    CONSTRUCTOR_EXITS,
    CONSTRUCTOR_ABORTS,
    CONSTRUCTOR_NEVER_ENDS,
    /* The same, and takes a processor for it. */
    CONSTRUCTOR_SPINS,
    /* Calls a function that no library has: link it with -Wl,-z,lazy. */
    UNDEFINED_SYMBOL,
    /* An entry that is not one, or is not what the file says. */
    WRONG_MAGIC,
    SHORT_ENTRY,
    OTHER_ABI,
    OTHER_MANIFEST,
    NO_TABLE,
    SHORT_TABLE,
    NO_STEP,
    /* Functions that fail, or say what the contract does not have. */
    OPEN_FAILS,
    OPEN_SAYS_NOTHING,
    OPEN_GIVES_NOTHING,
    OPEN_ABORTS,
    BEGIN_FAILS,
    STEP_FAILS,
    STEP_SAYS_77,
    CLOSE_ABORTS,
    /* Starts a second process of itself, by the C library and by the system call; answers with what comes of it. */
    FORKS,
    FORKS_BY_ITSELF,
};

#define MANIFEST(version) \
    "{\"format\":1,\"version\":\"" version "\",\"abi\":{\"major\":1,\"minor\":0}," \
    "\"license\":\"MIT\",\"layout_check\":false," \
    "\"plugin\":{\"id\":\"" ID "\",\"capabilities\":[\"generate\"]}," \
    "\"config_schema\":{\"type\":\"object\"}}"

HOST_PLUGIN_MANIFEST(MANIFEST("0.1.0"));

struct host_plugin_backend {
    int unused;
};

struct host_plugin_session {
    int unused;
};

/* Defined nowhere; referred to only where that is the fault. */
int a_function_that_no_library_has(void);

__attribute__((constructor)) static void constructor(void) {
    if (FAULT == CONSTRUCTOR_EXITS) {
        _exit(3);
    }
    if (FAULT == CONSTRUCTOR_ABORTS) {
        abort();
    }
    while (FAULT == CONSTRUCTOR_NEVER_ENDS) {
        (void)pause();
    }
    for (volatile int turns = 0; FAULT == CONSTRUCTOR_SPINS; turns ^= 1) {
    }
}

static host_plugin_bytes text_of(const char *text) {
    host_plugin_bytes bytes = { (const uint8_t *)text, strlen(text) };
    return bytes;
}

/* A static text, which nobody releases. */
static host_plugin_buf said(const char *text) {
    host_plugin_buf buf = { (uint8_t *)text, strlen(text), strlen(text), NULL };
    return buf;
}

static int32_t faulty_open(host_plugin_message config, const host_plugin_host *host,
                           uint64_t instance, host_plugin_backend **out, host_plugin_buf *err) {
    static host_plugin_backend backend;
    (void)config, (void)host, (void)instance;
    if (FAULT == OPEN_FAILS) {
        *err = said("config.key: expected the key of a door");
        return HOST_PLUGIN_FAILED;
    }
    if (FAULT == OPEN_SAYS_NOTHING) {
        return HOST_PLUGIN_FAILED;
    }
    if (FAULT == OPEN_ABORTS) {
        abort();
    }
    if (FAULT != OPEN_GIVES_NOTHING) {
        *out = &backend;
    }
    return HOST_PLUGIN_OK;
}

static void faulty_close(host_plugin_backend *backend) {
    (void)backend;
    if (FAULT == CLOSE_ABORTS) {
        abort();
    }
}

static int32_t faulty_begin(host_plugin_backend *backend, uint64_t token,
                            host_plugin_session **out, host_plugin_buf *err) {
    static host_plugin_session session;
    (void)backend, (void)token;
    if (FAULT == BEGIN_FAILS) {
        *err = said("no session today");
        return HOST_PLUGIN_FAILED;
    }
    *out = &session;
    return HOST_PLUGIN_OK;
}

static const char *answer(void) {
    if (FAULT == UNDEFINED_SYMBOL) {
        return a_function_that_no_library_has() ? "C" : "";
    }
    if (FAULT == FORKS || FAULT == FORKS_BY_ITSELF) {
        long child = FAULT == FORKS ? fork() : syscall(SYS_clone, 17, 0, 0, 0, 0);
        if (child == 0) {
            _exit(0);
        }
        return child > 0 ? "started" : errno == EPERM ? "not permitted" : "failed";
    }
    return "C";
}

static int32_t faulty_step(host_plugin_session *session, host_plugin_message event,
                           const host_plugin_sink *sink) {
    const char *text;
    char head[160];
    (void)session;
    if (memmem(event.head.ptr, event.head.len, "\"generate\"", 10) == NULL) {
        text = "{\"fail\":{\"kind\":\"unsupported\",\"message\":\"it only generates\"}}";
        (void)sink->push(sink->ctx, text_of(text), said(""));
        return HOST_PLUGIN_FAILED;
    }
    if (FAULT == STEP_FAILS || FAULT == STEP_SAYS_77) {
        return FAULT == STEP_FAILS ? HOST_PLUGIN_FAILED : 77;
    }
    text = answer();
    (void)snprintf(head, sizeof head,
                   "{\"done\":{\"item\":0,\"answer\":{\"completion\":{\"choices\":"
                   "[{\"text\":[0,%zu],\"finish_reason\":\"stop\"}]}}}}",
                   strlen(text));
    (void)sink->push(sink->ctx, text_of(head), said(text));
    return HOST_PLUGIN_OK;
}

static void faulty_end(host_plugin_session *session) {
    (void)session;
}

static const void *faulty_extension(host_plugin_bytes id) {
    (void)id;
    return NULL;
}

static const host_plugin_table table = {
    FAULT == SHORT_TABLE ? sizeof(size_t) : sizeof(host_plugin_table),
    faulty_open, faulty_close, faulty_begin, FAULT == NO_STEP ? NULL : faulty_step, faulty_end, faulty_extension,
};

static const host_plugin_table *faulty_table(void) {
    return FAULT == NO_TABLE ? NULL : &table;
}

static const char other_manifest[] = MANIFEST("0.2.0");

/* What HOST_PLUGIN_ENTRY would write, but for the fault. */
extern HOST_PLUGIN_EXPORT const host_plugin_entry_t host_plugin_entry;
const host_plugin_entry_t host_plugin_entry = {
    FAULT == WRONG_MAGIC ? 1 : HOST_PLUGIN_MAGIC,
    HOST_PLUGIN_ABI_MAJOR,
    FAULT == OTHER_ABI ? 9 : HOST_PLUGIN_ABI_MINOR_NEEDED,
    FAULT == SHORT_ENTRY ? 24 : sizeof(host_plugin_entry_t),
    0,
    { FAULT == OTHER_MANIFEST ? (const uint8_t *)other_manifest : host_plugin_manifest_.text,
      sizeof host_plugin_manifest_.text },
    faulty_table,
};

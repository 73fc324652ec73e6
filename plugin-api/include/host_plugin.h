/*
 * host_plugin.h: the plugin contract as a C11 header. It is all that a plugin needs.
 *
 * A plugin is a shared library that exports one static, `host_plugin_entry`. The host gives each
 * session one event at a time (`step`), and the plugin answers with actions (`sink->push`). The
 * plugin opens no socket, keeps no clock and sees no secret: it asks the host with an action.
 * docs/abi.md says the same in prose, with the messages.
 *
 * Rules of every table: it begins with `size` and only ever grows at its end. Use a field only if
 * `size` covers it (HOST_PLUGIN_HAS). A function added later may be null.
 *
 * Marks: [any thread] may be called from any thread, concurrently; [session] calls for one session
 * come one after the other, but not always on the same thread; different sessions run concurrently.
 *
 * Nothing but plain returns may leave a function: no exception, no longjmp, no unwinding.
 */
#ifndef HOST_PLUGIN_H
#define HOST_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* First field of every entry: "HOSTPLUG" read as a big-endian number. */
#define HOST_PLUGIN_MAGIC UINT64_C(0x484f5354504c5547)
/* Must be the same for host and plugin. */
#define HOST_PLUGIN_ABI_MAJOR 1u
/* The newest minor that this header describes. */
#define HOST_PLUGIN_ABI_MINOR 0u
/* The lowest minor that the plugin needs: what its entry and its manifest state. Define it before this header is
 * included if the plugin uses anything newer than 1.0. */
#ifndef HOST_PLUGIN_ABI_MINOR_NEEDED
#define HOST_PLUGIN_ABI_MINOR_NEEDED 0u
#endif

/* Status codes. Any other number reads as HOST_PLUGIN_FAILED. */
#define HOST_PLUGIN_OK 0
/* The reason is in `err`, or a `fail` action was pushed. */
#define HOST_PLUGIN_FAILED 1
/* The plugin caught a panic or exception; only `end` may follow for that session. */
#define HOST_PLUGIN_PANICKED 2

/* Levels of host_plugin_host.log. */
#define HOST_PLUGIN_LOG_ERROR 1u
#define HOST_PLUGIN_LOG_WARN 2u
#define HOST_PLUGIN_LOG_INFO 3u
#define HOST_PLUGIN_LOG_DEBUG 4u
#define HOST_PLUGIN_LOG_TRACE 5u

/* Whether the table that `table` points to is long enough to hold `field`. */
#define HOST_PLUGIN_HAS(table, field) \
    ((table)->size >= (size_t)((const char *)(&(table)->field + 1) - (const char *)(table)))

/* ---- leaf types: frozen ------------------------------------------------------------------- */

/* Borrowed bytes. Owner: the caller; they die with the call that passed them. Null is empty. */
typedef struct host_plugin_bytes {
    const uint8_t *ptr;
    size_t len;
} host_plugin_bytes;

/*
 * Owned bytes. Owner: whoever holds it. Released once by its maker's `free` [any thread], which gets
 * the three fields back; `cap` is the maker's business. A null `ptr` holds nothing, a null `free`
 * releases nothing (static bytes).
 */
typedef struct host_plugin_buf {
    uint8_t *ptr;
    size_t len;
    size_t cap;
    void (*free)(uint8_t *ptr, size_t len, size_t cap);
} host_plugin_buf;

/* A message to a plugin. `head` is JSON in UTF-8, to be validated; `body` is raw, the head points
   into it by [offset, length]. Owner: the host, for the call. */
typedef struct host_plugin_message {
    host_plugin_bytes head;
    host_plugin_bytes body;
} host_plugin_message;

/* ---- tables: append-only ------------------------------------------------------------------ */

/* Where a step puts its actions. Owner: the host; valid during the step only. */
typedef struct host_plugin_sink {
    size_t size;
    void *ctx;
    /* Takes one action. `head` is borrowed for the call. `body` is taken over, even on failure: do
       not touch it afterwards. [session], inside `step` alone. */
    int32_t (*push)(void *ctx, host_plugin_bytes head, host_plugin_buf body);
} host_plugin_sink;

/* What the host offers. Owner: the host; it and its `ctx` live as long as the process. */
typedef struct host_plugin_host {
    size_t size;
    void *ctx;
    /* Wakes the session with this token: it is stepped with `woken` once it is parked. Never blocks,
       never calls back into the plugin, is latched during a step and ignored after `end`. [any thread] */
    void (*wake)(void *ctx, uint64_t token);
    /* 1 once the host no longer wants the session's answer, else 0. [any thread] */
    uint8_t (*cancelled)(void *ctx, uint64_t token);
    /* Writes a line, UTF-8, to the host's log. [any thread] */
    void (*log)(void *ctx, uint32_t level, host_plugin_bytes text);
    /* A further table by its id ("name/1"), static, or null. [any thread] */
    const void *(*extension)(void *ctx, host_plugin_bytes id);
} host_plugin_host;

/* A configured backend and a request on its way: the plugin's own, opaque to the host. */
typedef struct host_plugin_backend host_plugin_backend;
typedef struct host_plugin_session host_plugin_session;

/* What a plugin offers. Owner: the plugin; lives as long as the process (a library is never unloaded). */
typedef struct host_plugin_table {
    size_t size;
    /* Makes a backend. The head of `config` holds, under "config", that of the backend's table in the
       run file (`config.KEY`), with the table's own `base_url` and `model` if the schema has them.
       `host` may be kept. Success: `*out` is set. Failure: `*out` stays untouched and `*err` gets the
       reason, which the host releases. May come several times. [any thread] */
    int32_t (*open)(host_plugin_message config, const host_plugin_host *host, uint64_t instance,
                    host_plugin_backend **out, host_plugin_buf *err);
    /* Releases a backend, after every `end` of its sessions. [any thread] */
    void (*close)(host_plugin_backend *backend);
    /* Makes a session. `token` names it to the host and is never used again. [any thread] */
    int32_t (*begin)(host_plugin_backend *backend, uint64_t token, host_plugin_session **out,
                     host_plugin_buf *err);
    /* Gives one event, the first being `start`, and takes actions. Must not block, unless the
       manifest says so. [session] */
    int32_t (*step)(host_plugin_session *session, host_plugin_message event,
                    const host_plugin_sink *sink);
    /* Releases a session and gives up what is outstanding: once for each session begun, also after an
       answer or a failure, never during `step`. [session] */
    void (*end)(host_plugin_session *session);
    /* A further table by its id, static, or null. [any thread] */
    const void *(*extension)(host_plugin_bytes id);
} host_plugin_table;

/* The exported static. Owner: the plugin; constant. */
typedef struct host_plugin_entry_t {
    uint64_t magic;
    uint32_t abi_major;
    /* The lowest minor that the plugin needs: a floor. */
    uint32_t abi_minor;
    size_t size;
    /* None defined yet: 0. */
    uint64_t flags;
    /* The JSON of the manifest section, byte for byte. */
    host_plugin_bytes manifest;
    /* Returns the table; runs no other code of the plugin. [any thread] */
    const host_plugin_table *(*plugin)(void);
} host_plugin_entry_t;

/* ---- the manifest -------------------------------------------------------------------------- */

#if defined(_WIN32)
#define HOST_PLUGIN_EXPORT __declspec(dllexport)
#define HOST_PLUGIN_SECTION ".hostpl"
#elif defined(__APPLE__)
#define HOST_PLUGIN_EXPORT __attribute__((visibility("default")))
#define HOST_PLUGIN_SECTION "__DATA,__hostplugin"
#else
#define HOST_PLUGIN_EXPORT __attribute__((visibility("default")))
#define HOST_PLUGIN_SECTION ".hostplugin"
#endif

#define HOST_PLUGIN_MANIFEST_VERSION 1u
#define HOST_PLUGIN_U32_LE_(n) \
    { (uint8_t)((n)&0xff), (uint8_t)(((n) >> 8) & 0xff), (uint8_t)(((n) >> 16) & 0xff), \
      (uint8_t)(((n) >> 24) & 0xff) }

/* The text has no terminating zero, and compilers that would warn are told so. */
#if defined(__has_attribute)
#if __has_attribute(nonstring)
#define HOST_PLUGIN_NONSTRING_ __attribute__((nonstring))
#endif
#endif
#ifndef HOST_PLUGIN_NONSTRING_
#define HOST_PLUGIN_NONSTRING_
#endif

/*
 * Puts the manifest, a JSON string literal, into the library's section: magic, u32 LE version,
 * u32 LE length, JSON. The host reads it from the file before it runs any code.
 */
#define HOST_PLUGIN_MANIFEST(json) \
    static const struct { \
        uint8_t magic[8]; \
        uint8_t version[4]; \
        uint8_t length[4]; \
        uint8_t text[sizeof(json) - 1] HOST_PLUGIN_NONSTRING_; \
    } host_plugin_manifest_ __attribute__((used, section(HOST_PLUGIN_SECTION))) = { \
        { 'H', 'O', 'S', 'T', 'P', 'L', 'U', 'G' }, \
        HOST_PLUGIN_U32_LE_(HOST_PLUGIN_MANIFEST_VERSION), \
        HOST_PLUGIN_U32_LE_(sizeof(json) - 1), \
        json, \
    }

/* Exports the entry. `get_table` is the function that returns the table. After HOST_PLUGIN_MANIFEST. */
#define HOST_PLUGIN_ENTRY(get_table) \
    extern HOST_PLUGIN_EXPORT const host_plugin_entry_t host_plugin_entry; \
    const host_plugin_entry_t host_plugin_entry = { \
        HOST_PLUGIN_MAGIC, \
        HOST_PLUGIN_ABI_MAJOR, \
        HOST_PLUGIN_ABI_MINOR_NEEDED, \
        sizeof(host_plugin_entry_t), \
        0, \
        { host_plugin_manifest_.text, sizeof(host_plugin_manifest_.text) }, \
        get_table, \
    }

#ifdef __cplusplus
}
#endif

#endif /* HOST_PLUGIN_H */

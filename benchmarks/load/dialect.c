#define _GNU_SOURCE
#include "dialect.h"

#include <stdio.h>
#include <string.h>

#include "amqp.h"
#include "echo.h"
#include "irc.h"
#include "mqtt.h"
#include "nats.h"
#include "websocket.h"

enum { MAX_DOCUMENT_BYTES = 128 << 10, TYPE_OFFSET = 9 /* behind {"type":" */, FIELD_SEARCH_BYTES = 192 };

const char *const dialect_names[] = {"floor",   "line",      "ws",   "nats", "amqp", "echo-line",
                                     "echo-ws", "nats-core", "mqtt", "irc",  NULL};

bool dialect_upgrades(enum dialect dialect) { return dialect == DIALECT_WS || dialect == DIALECT_ECHO_WS; }

bool dialect_copies(enum dialect dialect) { return dialect >= DIALECT_ECHO_LINE; }

bool dialect_welcomes_first(enum dialect dialect) { return dialect == DIALECT_IRC; }

bool dialect_joins_silently(enum dialect dialect) { return dialect == DIALECT_ECHO_WS; }

static const struct {
    const char *type;
    enum kind kind;
} kinds[] = {
    {"sent\"", KIND_SENT},       {"joined\"", KIND_JOINED}, {"welcome\"", KIND_WELCOME},
    {"pong\"", KIND_PONG},       {"lagged\"", KIND_LAGGED}, {"error\"", KIND_ERROR},
};

/* `message` is tested first and alone: it is all but a few of what arrives. */
static enum kind kind_of(const char *bytes, size_t length) {
    if (length > TYPE_OFFSET + 8 && memcmp(bytes + TYPE_OFFSET, "message\"", 8) == 0) return KIND_MESSAGE;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t size = strlen(kinds[i].type);
        if (length >= TYPE_OFFSET + size && memcmp(bytes + TYPE_OFFSET, kinds[i].type, size) == 0)
            return kinds[i].kind;
    }
    return KIND_OTHER;
}

static bool next_line(struct input *input, struct document *document) {
    size_t left = (size_t)(input->end - input->at);
    const char *newline = memchr(input->at, '\n', left);
    if (!newline) {
        input->broken = left > MAX_DOCUMENT_BYTES;
        return false;
    }
    document->bytes = input->at;
    document->length = (size_t)(newline - input->at);
    document->kind = kind_of(document->bytes, document->length);
    input->at = newline + 1;
    return true;
}

static bool next_frame(struct input *input, struct document *document) {
    if (!websocket_next(input, document)) return false;
    if (document->kind == KIND_MESSAGE) document->kind = kind_of(document->bytes, document->length);
    return true;
}

bool dialect_next(enum dialect dialect, struct input *input, struct document *document) {
    switch (dialect) {
    case DIALECT_WS: return next_frame(input, document);
    case DIALECT_ECHO_WS: return websocket_next(input, document);
    case DIALECT_ECHO_LINE: return echo_next_line(input, document);
    case DIALECT_NATS:
    case DIALECT_NATS_CORE: return nats_next(input, document);
    case DIALECT_MQTT: return mqtt_next(input, document);
    case DIALECT_IRC: return irc_next(input, document);
    case DIALECT_AMQP: return amqp_next(input, document);
    default: return next_line(input, document);
    }
}

bool document_number(const struct document *document, const char *field, uint64_t *value) {
    size_t size = strlen(field);
    size_t searched = document->length < FIELD_SEARCH_BYTES ? document->length : FIELD_SEARCH_BYTES;
    const char *at = memmem(document->bytes, searched, field, size);
    if (!at) return false;
    const char *end = document->bytes + document->length;
    *value = 0;
    for (at += size; at < end && *at >= '0' && *at <= '9'; at++) *value = *value * 10 + (uint64_t)(*at - '0');
    return true;
}

/* Ends a document that was written to `out`: as a line, or as a frame. */
static size_t finish(enum dialect dialect, char *out, size_t length) {
    if (dialect_upgrades(dialect)) return websocket_encode_text(out, out, length);
    out[length] = '\n';
    return length + 1;
}

size_t dialect_room(size_t text_bytes) { return text_bytes + 512; }

size_t encode_upgrade(enum dialect dialect, char *out, const char *host) {
    return websocket_encode_upgrade(out, host, dialect == DIALECT_WS ? "fastchat.v1" : NULL);
}

size_t encode_hello(enum dialect dialect, char *out, const char *user) {
    switch (dialect) {
    case DIALECT_FLOOR:
    case DIALECT_ECHO_LINE:
    case DIALECT_ECHO_WS: return 0;
    case DIALECT_NATS:
    case DIALECT_NATS_CORE: return nats_encode_hello(out, user);
    case DIALECT_AMQP: return amqp_encode_hello(out);
    case DIALECT_MQTT: return mqtt_encode_hello(out, user);
    case DIALECT_IRC: return irc_encode_hello(out, user);
    default: return finish(dialect, out, (size_t)sprintf(out, "{\"type\":\"hello\",\"user\":\"%s\"}", user));
    }
}

size_t encode_join(enum dialect dialect, char *out, const char *room, bool receives) {
    switch (dialect) {
    case DIALECT_FLOOR: return finish(dialect, out, (size_t)sprintf(out, "S"));
    case DIALECT_ECHO_LINE:
    case DIALECT_ECHO_WS: return 0;
    case DIALECT_NATS: return nats_encode_join(out, room, receives);
    case DIALECT_NATS_CORE: return nats_encode_join(out, room, true);
    case DIALECT_AMQP: return amqp_encode_join(out, room, receives);
    case DIALECT_MQTT: return mqtt_encode_join(out, room);
    case DIALECT_IRC: return irc_encode_join(out, room);
    default: return finish(dialect, out, (size_t)sprintf(out, "{\"type\":\"join\",\"room\":\"%s\"}", room));
    }
}

size_t encode_return(enum dialect dialect, char *out, const char *room, int after) {
    return finish(dialect, out,
                  (size_t)sprintf(out, "{\"type\":\"join\",\"room\":\"%s\",\"after\":%d}", room, after));
}

static size_t encode_copies(enum dialect dialect, char *out, const char *room, uint64_t id, const char *text,
                            size_t text_bytes) {
    switch (dialect) {
    case DIALECT_NATS_CORE: return nats_encode_copy(out, room, id, text, text_bytes);
    case DIALECT_MQTT: return mqtt_encode_send(out, room, id, text, text_bytes);
    case DIALECT_IRC: return irc_encode_send(out, room, id, text, text_bytes);
    default: return finish(dialect, out, encode_copy(out, id, text, text_bytes));
    }
}

/* The id has a fixed width, so that every event of a run has nearly the same size. */
size_t encode_send(enum dialect dialect, char *out, const char *room, const char *user, uint64_t id,
                   const char *text, size_t text_bytes) {
    size_t length;
    if (dialect == DIALECT_NATS) return nats_encode_send(out, room, user, id, text, text_bytes);
    if (dialect == DIALECT_AMQP) return amqp_encode_send(out, text, text_bytes);
    if (dialect_copies(dialect)) return encode_copies(dialect, out, room, id, text, text_bytes);
    if (dialect == DIALECT_FLOOR) {
        length = (size_t)sprintf(out, "x%09llu ", (unsigned long long)id);
    } else {
        length = (size_t)sprintf(out, "{\"type\":\"send\",\"room\":\"%s\",\"id\":\"x%09llu\",\"text\":\"", room,
                                 (unsigned long long)id);
    }
    memcpy(out + length, text, text_bytes);
    length += text_bytes;
    if (dialect != DIALECT_FLOOR) {
        memcpy(out + length, "\"}", 2);
        length += 2;
    }
    return finish(dialect, out, length);
}

size_t encode_ping(enum dialect dialect, char *out) {
    return finish(dialect, out, (size_t)sprintf(out, "{\"type\":\"ping\"}"));
}

size_t encode_pong(enum dialect dialect, char *out, const char *payload, size_t length) {
    if (dialect == DIALECT_NATS || dialect == DIALECT_NATS_CORE) return nats_encode_pong(out);
    if (dialect == DIALECT_IRC) return irc_encode_pong(out, payload, length);
    return websocket_encode_pong(out, payload, length);
}

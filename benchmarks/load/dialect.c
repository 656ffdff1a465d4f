#define _GNU_SOURCE
#include "dialect.h"

#include <stdio.h>
#include <string.h>

#include "amqp.h"
#include "nats.h"

enum { MAX_DOCUMENT_BYTES = 128 << 10, TYPE_OFFSET = 9 /* behind {"type":" */, FIELD_SEARCH_BYTES = 192 };
enum { OPCODE_TEXT = 0x1, OPCODE_CLOSE = 0x8, OPCODE_PING = 0x9, OPCODE_PONG = 0xA, MASKED = 0x80 };

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

static enum kind kind_of_frame(int opcode, const char *payload, size_t length) {
    if (opcode == OPCODE_TEXT) return kind_of(payload, length);
    if (opcode == OPCODE_PING) return KIND_PING;
    return opcode == OPCODE_CLOSE ? KIND_WS_CLOSE : KIND_OTHER;
}

static bool next_frame(struct input *input, struct document *document) {
    const unsigned char *frame = (const unsigned char *)input->at;
    size_t left = (size_t)(input->end - input->at), header = 2;
    if (left < 2) return false;
    uint64_t length = frame[1];
    if (length & MASKED) input->broken = true;
    if (length == 126) header = 4;
    if (length == 127) header = 10;
    if (left < header) return false;
    if (header > 2) length = 0;
    for (size_t i = 2; i < header; i++) length = length << 8 | frame[i];
    if (length > MAX_DOCUMENT_BYTES) input->broken = true;
    if (input->broken || length > left - header) return false;
    document->bytes = input->at + header;
    document->length = (size_t)length;
    document->kind = kind_of_frame(frame[0] & 0x0F, document->bytes, document->length);
    input->at = document->bytes + length;
    return true;
}

bool dialect_next(enum dialect dialect, struct input *input, struct document *document) {
    switch (dialect) {
    case DIALECT_WS: return next_frame(input, document);
    case DIALECT_NATS: return nats_next(input, document);
    case DIALECT_AMQP: return amqp_next(input, document);
    default: return next_line(input, document);
    }
}

int dialect_upgraded(struct input *input) {
    static const char accepted[] = "HTTP/1.1 101 ";
    size_t left = (size_t)(input->end - input->at);
    const char *blank = memmem(input->at, left, "\r\n\r\n", 4);
    if (!blank) return 0;
    bool good = left >= sizeof accepted && memcmp(input->at, accepted, sizeof accepted - 1) == 0;
    input->at = blank + 4;
    return good ? 1 : -1;
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

/* A constant mask is as good as any for a server: it has to unmask all the same. */
static void mask(char *bytes, size_t length) {
    static const unsigned char key[4] = {0x5A, 0xA5, 0x3C, 0xC3};
    for (size_t i = 0; i < length; i++) bytes[i] = (char)((unsigned char)bytes[i] ^ key[i & 3]);
}

static size_t encode_frame(char *out, int opcode, const char *payload, size_t length) {
    unsigned char *header = (unsigned char *)out;
    size_t size = length < 126 ? 2 : length < 65536 ? 4 : 10;
    memmove(out + size + 4, payload, length);
    header[0] = (unsigned char)(0x80 | opcode);
    header[1] = (unsigned char)(MASKED | (size == 2 ? length : size == 4 ? 126 : 127));
    for (size_t i = 2; i < size; i++) header[i] = (unsigned char)(length >> (8 * (size - 1 - i)));
    memcpy(out + size, "\x5A\xA5\x3C\xC3", 4);
    mask(out + size + 4, length);
    return size + 4 + length;
}

/* Ends a document that was written to `out`: as a line, or as a frame. */
static size_t finish(enum dialect dialect, char *out, size_t length) {
    if (dialect == DIALECT_WS) return encode_frame(out, OPCODE_TEXT, out, length);
    out[length] = '\n';
    return length + 1;
}

size_t dialect_room(size_t text_bytes) { return text_bytes + 512; }

size_t encode_upgrade(char *out, const char *host) {
    return (size_t)sprintf(out,
                           "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                           "Sec-WebSocket-Protocol: fastchat.v1\r\n\r\n",
                           host);
}

size_t encode_hello(enum dialect dialect, char *out, const char *user) {
    if (dialect == DIALECT_FLOOR) return 0;
    if (dialect == DIALECT_NATS) return nats_encode_hello(out, user);
    if (dialect == DIALECT_AMQP) return amqp_encode_hello(out);
    return finish(dialect, out, (size_t)sprintf(out, "{\"type\":\"hello\",\"user\":\"%s\"}", user));
}

size_t encode_join(enum dialect dialect, char *out, const char *room, bool receives) {
    if (dialect == DIALECT_FLOOR) return finish(dialect, out, (size_t)sprintf(out, "S"));
    if (dialect == DIALECT_NATS) return nats_encode_join(out, room, receives);
    if (dialect == DIALECT_AMQP) return amqp_encode_join(out, room, receives);
    return finish(dialect, out, (size_t)sprintf(out, "{\"type\":\"join\",\"room\":\"%s\"}", room));
}

size_t encode_return(enum dialect dialect, char *out, const char *room, int after) {
    return finish(dialect, out,
                  (size_t)sprintf(out, "{\"type\":\"join\",\"room\":\"%s\",\"after\":%d}", room, after));
}

/* The id has a fixed width, so that every event of a run has nearly the same size. */
size_t encode_send(enum dialect dialect, char *out, const char *room, const char *user, uint64_t id,
                   const char *text, size_t text_bytes) {
    size_t length;
    if (dialect == DIALECT_NATS) return nats_encode_send(out, room, user, id, text, text_bytes);
    if (dialect == DIALECT_AMQP) return amqp_encode_send(out, text, text_bytes);
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
    if (dialect == DIALECT_NATS) return nats_encode_pong(out);
    return encode_frame(out, OPCODE_PONG, payload, length);
}

#define _GNU_SOURCE
#include "amqp.h"

#include <string.h>

enum { FRAME_METHOD = 1, FRAME_HEADER = 2, FRAME_BODY = 3, FRAME_END = 0xCE };
enum { HEAD_BYTES = 7, MAX_FRAME_BYTES = 128 << 10 };

#define METHOD(class, method) ((uint32_t)(class) << 16 | (uint32_t)(method))
static const uint32_t CONNECTION_START_OK = METHOD(10, 11), CONNECTION_TUNE_OK = METHOD(10, 31);
static const uint32_t CONNECTION_OPEN = METHOD(10, 40), CONNECTION_CLOSE = METHOD(10, 50);
static const uint32_t CHANNEL_OPEN = METHOD(20, 10), CHANNEL_CLOSE = METHOD(20, 40);
static const uint32_t QUEUE_DECLARE = METHOD(50, 10), QUEUE_BIND = METHOD(50, 20);
static const uint32_t BASIC_CONSUME = METHOD(60, 20), BASIC_PUBLISH = METHOD(60, 40);
static const uint32_t BASIC_DELIVER = METHOD(60, 60), BASIC_ACK = METHOD(60, 80), BASIC_NACK = METHOD(60, 120);
static const uint32_t CONFIRM_SELECT = METHOD(85, 10), CONFIRM_SELECT_OK = METHOD(85, 11);
static const char EXCHANGE[] = "amq.fanout";

/* ---- reading ---- */

static uint64_t get(const char *at, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value = value << 8 | (unsigned char)at[i];
    return value;
}

static enum kind kind_of(uint32_t method) {
    if (method == BASIC_DELIVER) return KIND_MESSAGE;
    if (method == BASIC_ACK) return KIND_SENT;
    if (method == CONFIRM_SELECT_OK) return KIND_JOINED;
    if (method == BASIC_NACK || method == CONNECTION_CLOSE || method == CHANNEL_CLOSE) return KIND_ERROR;
    return KIND_OTHER;
}

bool amqp_next(struct input *input, struct document *document) {
    size_t left = (size_t)(input->end - input->at);
    if (left < HEAD_BYTES) return false;
    size_t length = (size_t)get(input->at + 3, 4);
    if (length > MAX_FRAME_BYTES) input->broken = true;
    if (input->broken || left < HEAD_BYTES + length + 1) return false;
    bool is_method = input->at[0] == FRAME_METHOD && length >= 4;
    document->bytes = input->at + HEAD_BYTES;
    document->length = length;
    document->kind = is_method ? kind_of((uint32_t)get(document->bytes, 4)) : KIND_OTHER;
    if (document->kind == KIND_SENT && length >= 13) {
        document->tag = get(document->bytes + 4, 8);
        document->multiple = document->bytes[12] & 1;
    }
    input->at += HEAD_BYTES + length + 1;
    return true;
}

uint64_t amqp_confirm(struct confirms *confirms, const struct document *document) {
    if (document->tag <= confirms->upto || document->tag > confirms->upto + 64) return 0;
    uint64_t last = 1ULL << (document->tag - confirms->upto - 1);
    uint64_t added = (document->multiple ? last | (last - 1) : last) & ~confirms->above;
    confirms->above |= added;
    while (confirms->above & 1) {
        confirms->above >>= 1;
        confirms->upto++;
    }
    return (uint64_t)__builtin_popcountll(added);
}

/* ---- writing ---- */

static char *put(char *at, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) at[i] = (char)(value >> (8 * (bytes - 1 - i)));
    return at + bytes;
}

static char *put_bytes(char *at, const char *bytes, size_t length) {
    memcpy(at, bytes, length);
    return at + length;
}

static char *put_short(char *at, const char *text) {
    size_t length = strlen(text);
    return put_bytes(put(at, length, 1), text, length);
}

static char *begin(char *at, int type, int channel) {
    return put(put(put(at, (uint64_t)type, 1), (uint64_t)channel, 2), 0, 4);
}

/* Fills in the length of the frame that began at `start`. */
static char *end(char *start, char *at) {
    put(start + 3, (uint64_t)(at - start) - HEAD_BYTES, 4);
    return put(at, FRAME_END, 1);
}

/* Everything up to the open channel at once: the server reads on when it has answered each. */
size_t amqp_encode_hello(char *out) {
    static const char plain[] = "\0guest\0guest";
    char *at = put_bytes(out, "AMQP\0\0\x09\x01", 8), *start = at;
    at = put(begin(at, FRAME_METHOD, 0), CONNECTION_START_OK, 4);
    at = put_short(put(at, 0, 4), "PLAIN"); /* no client properties */
    at = put_bytes(put(at, sizeof plain - 1, 4), plain, sizeof plain - 1);
    start = at = end(start, put_short(at, "en_US"));
    at = put(begin(at, FRAME_METHOD, 0), CONNECTION_TUNE_OK, 4);
    start = at = end(start, put(put(put(at, 2047, 2), MAX_FRAME_BYTES, 4), 0, 2)); /* no heartbeats */
    at = put(begin(at, FRAME_METHOD, 0), CONNECTION_OPEN, 4);
    start = at = end(start, put(put_short(at, "/"), 0, 2));
    at = put(begin(at, FRAME_METHOD, 1), CHANNEL_OPEN, 4);
    return (size_t)(end(start, put(at, 0, 1)) - out);
}

/* Declares a queue and binds it. Without a name it is the server's to choose, and the channel's last one. */
static char *put_queue(char *at, const char *name, int flags) {
    char *start = at;
    at = put(put(begin(at, FRAME_METHOD, 1), QUEUE_DECLARE, 4), 0, 2);
    start = at = end(start, put(put(put_short(at, name), (uint64_t)flags, 1), 0, 4));
    at = put(put(begin(at, FRAME_METHOD, 1), QUEUE_BIND, 4), 0, 2);
    at = put_short(put_short(put_short(at, name), EXCHANGE), "");
    return end(start, put(put(at, 0, 1), 0, 4));
}

static char *put_consume(char *at) {
    enum { NO_ACK = 2 };
    char *start = at;
    at = put(put(begin(at, FRAME_METHOD, 1), BASIC_CONSUME, 4), 0, 2);
    return end(start, put(put(put_short(put_short(at, ""), ""), NO_ACK, 1), 0, 4));
}

size_t amqp_encode_join(char *out, const char *room, bool receives) {
    enum { DURABLE = 2, EXCLUSIVE = 4, AUTO_DELETE = 8 };
    char *at = put_queue(out, room, DURABLE), *start;
    if (receives) at = put_consume(put_queue(at, "", EXCLUSIVE | AUTO_DELETE));
    start = at;
    at = put(begin(at, FRAME_METHOD, 1), CONFIRM_SELECT, 4);
    return (size_t)(end(start, put(at, 0, 1)) - out);
}

size_t amqp_encode_send(char *out, const char *text, size_t text_bytes) {
    enum { HAS_DELIVERY_MODE = 0x1000, PERSISTENT = 2 };
    char *at = put(put(begin(out, FRAME_METHOD, 1), BASIC_PUBLISH, 4), 0, 2), *start;
    start = at = end(out, put(put_short(put_short(at, EXCHANGE), ""), 0, 1));
    at = put(put(put(begin(at, FRAME_HEADER, 1), 60, 2), 0, 2), text_bytes, 8);
    start = at = end(start, put(put(at, HAS_DELIVERY_MODE, 2), PERSISTENT, 1));
    at = put_bytes(begin(at, FRAME_BODY, 1), text, text_bytes);
    return (size_t)(end(start, at) - out);
}

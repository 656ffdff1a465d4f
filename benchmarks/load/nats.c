#define _GNU_SOURCE
#include "nats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echo.h"

enum { MAX_LINE_BYTES = 64 << 10, MAX_PAYLOAD_BYTES = 64 << 10 };

static bool starts_with(const char *bytes, size_t length, const char *start) {
    size_t size = strlen(start);
    return length >= size && memcmp(bytes, start, size) == 0;
}

/* "MSG subject sid [reply] size": what is not in the inbox is somebody's message. */
static bool next_message(struct input *input, const char *line, size_t length, struct document *document) {
    const char *size_at = memrchr(line, ' ', length);
    size_t size = size_at ? (size_t)strtoul(size_at + 1, NULL, 10) : 0;
    if (!size_at || size > MAX_PAYLOAD_BYTES) input->broken = true;
    const char *payload = line + length + 2;
    if (input->broken || payload + size + 2 > input->end) return false;
    document->bytes = payload;
    document->length = size;
    document->kind = KIND_MESSAGE;
    if (starts_with(line, length, "MSG _INBOX."))
        document->kind = memmem(payload, size, "\"error\"", 7) ? KIND_ERROR : KIND_SENT;
    input->at = payload + size + 2;
    return true;
}

bool nats_next(struct input *input, struct document *document) {
    const char *line = input->at;
    size_t left = (size_t)(input->end - line);
    const char *end = memmem(line, left, "\r\n", 2);
    if (!end) {
        input->broken = left > MAX_LINE_BYTES;
        return false;
    }
    size_t length = (size_t)(end - line);
    if (starts_with(line, length, "MSG ")) return next_message(input, line, length, document);
    document->bytes = line;
    document->length = length;
    document->kind = KIND_OTHER;
    if (starts_with(line, length, "PING")) document->kind = KIND_PING;
    if (starts_with(line, length, "PONG")) document->kind = KIND_JOINED;
    if (starts_with(line, length, "-ERR")) document->kind = KIND_ERROR;
    input->at = end + 2;
    return true;
}

size_t nats_encode_hello(char *out, const char *user) {
    return (size_t)sprintf(out, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB _INBOX.%s.* 1\r\n", user);
}

/* The server answers when it has carried out everything before. */
size_t nats_encode_join(char *out, const char *room, bool receives) {
    size_t length = receives ? (size_t)sprintf(out, "SUB %s 2\r\n", room) : 0;
    return length + (size_t)sprintf(out + length, "PING\r\n");
}

size_t nats_encode_send(char *out, const char *room, const char *user, uint64_t id, const char *text,
                        size_t text_bytes) {
    size_t length = (size_t)sprintf(out, "PUB %s _INBOX.%s.x%09llu %zu\r\n", room, user, (unsigned long long)id,
                                    text_bytes);
    memcpy(out + length, text, text_bytes);
    memcpy(out + length + text_bytes, "\r\n", 2);
    return length + text_bytes + 2;
}

size_t nats_encode_copy(char *out, const char *room, uint64_t id, const char *text, size_t text_bytes) {
    size_t length = (size_t)sprintf(out, "PUB %s %zu\r\n", room, text_bytes);
    length += encode_copy(out + length, id, text, text_bytes);
    memcpy(out + length, "\r\n", 2);
    return length + 2;
}

size_t nats_encode_pong(char *out) { return (size_t)sprintf(out, "PONG\r\n"); }

#define _GNU_SOURCE
#include "websocket.h"

#include <stdio.h>
#include <string.h>

enum { OPCODE_TEXT = 0x1, OPCODE_BINARY = 0x2, OPCODE_CLOSE = 0x8, OPCODE_PING = 0x9, OPCODE_PONG = 0xA };
enum { MASKED = 0x80, MAX_PAYLOAD_BYTES = 128 << 10 };

static enum kind kind_of(int opcode) {
    switch (opcode) {
    case OPCODE_TEXT:
    case OPCODE_BINARY: return KIND_MESSAGE;
    case OPCODE_PING: return KIND_PING;
    case OPCODE_CLOSE: return KIND_WS_CLOSE;
    default: return KIND_OTHER;
    }
}

bool websocket_next(struct input *input, struct document *document) {
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
    if (length > MAX_PAYLOAD_BYTES) input->broken = true;
    if (input->broken || length > left - header) return false;
    document->bytes = input->at + header;
    document->length = (size_t)length;
    document->kind = kind_of(frame[0] & 0x0F);
    input->at = document->bytes + length;
    return true;
}

size_t websocket_encode_upgrade(char *out, const char *host, const char *subprotocol) {
    int length = sprintf(out,
                         "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
                         host);
    if (subprotocol) length += sprintf(out + length, "Sec-WebSocket-Protocol: %s\r\n", subprotocol);
    return (size_t)(length + sprintf(out + length, "\r\n"));
}

int websocket_upgraded(struct input *input) {
    static const char accepted[] = "HTTP/1.1 101 ";
    size_t left = (size_t)(input->end - input->at);
    const char *blank = memmem(input->at, left, "\r\n\r\n", 4);
    if (!blank) return 0;
    bool good = left >= sizeof accepted && memcmp(input->at, accepted, sizeof accepted - 1) == 0;
    input->at = blank + 4;
    return good ? 1 : -1;
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

size_t websocket_encode_text(char *out, const char *payload, size_t length) {
    return encode_frame(out, OPCODE_TEXT, payload, length);
}

size_t websocket_encode_pong(char *out, const char *payload, size_t length) {
    return encode_frame(out, OPCODE_PONG, payload, length);
}

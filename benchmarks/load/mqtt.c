#include "mqtt.h"

#include <string.h>

#include "echo.h"

enum { CONNECT = 0x10, CONNACK = 0x20, PUBLISH = 0x30, SUBSCRIBE = 0x82, SUBACK = 0x90 };
enum { MAX_PACKET_BYTES = 128 << 10, LENGTH_BYTES = 4, REFUSED = 0x80 };

/* ---- reading ---- */

/* The remaining length: seven bits a byte, the lowest first. Returns the bytes it takes; 0: not all there. */
static size_t take_length(const unsigned char *at, size_t left, size_t *length) {
    *length = 0;
    for (size_t i = 0; i < LENGTH_BYTES && i < left; i++) {
        *length |= (size_t)(at[i] & 0x7F) << (7 * i);
        if (!(at[i] & 0x80)) return i + 1;
    }
    return 0;
}

/* The codes that say no are 1 … 5 in a CONNACK, 0x80 in a SUBACK; both are the last byte. */
static enum kind kind_of(int type, const char *bytes, size_t length) {
    unsigned char code = length > 0 ? (unsigned char)bytes[length - 1] : REFUSED;
    if (type == PUBLISH) return KIND_MESSAGE;
    if (type == SUBACK) return code & REFUSED ? KIND_ERROR : KIND_JOINED;
    return type == CONNACK && code != 0 ? KIND_ERROR : KIND_OTHER;
}

bool mqtt_next(struct input *input, struct document *document) {
    const unsigned char *packet = (const unsigned char *)input->at;
    size_t left = (size_t)(input->end - input->at), length;
    if (left < 2) return false;
    size_t header = take_length(packet + 1, left - 1, &length) + 1;
    if (header == 1) {
        input->broken = left > LENGTH_BYTES;
        return false;
    }
    if (length > MAX_PACKET_BYTES) input->broken = true;
    if (input->broken || left - header < length) return false;
    document->bytes = input->at + header;
    document->length = length;
    document->kind = kind_of(packet[0] & 0xF0, document->bytes, length);
    input->at += header + length;
    if (document->kind != KIND_MESSAGE) return true;
    size_t topic = length < 2 ? 0 : (size_t)packet[header] << 8 | packet[header + 1];
    if (topic + 2 > length) topic = length - 2; /* the id will not be there either */
    document->bytes += topic + 2;
    document->length -= topic + 2;
    return true;
}

/* ---- writing ---- */

static char *put_short(char *at, size_t value) {
    at[0] = (char)(value >> 8);
    at[1] = (char)value;
    return at + 2;
}

static char *put_text(char *at, const char *text) {
    size_t length = strlen(text);
    memcpy(put_short(at, length), text, length);
    return at + 2 + length;
}

/* The rest of a packet is written behind the longest head; this puts the head there and closes the gap. */
static size_t finish(char *out, int type, const char *end) {
    const char *rest = out + 1 + LENGTH_BYTES;
    size_t length = (size_t)(end - rest), left = length, at = 0;
    out[at++] = (char)type;
    do {
        out[at++] = (char)((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
        left >>= 7;
    } while (left > 0);
    memmove(out + at, rest, length);
    return at + length;
}

size_t mqtt_encode_hello(char *out, const char *user) {
    static const char level_4_clean_session_no_keep_alive[] = {4, 2, 0, 0};
    char *at = put_text(out + 1 + LENGTH_BYTES, "MQTT");
    memcpy(at, level_4_clean_session_no_keep_alive, sizeof level_4_clean_session_no_keep_alive);
    return finish(out, CONNECT, put_text(at + sizeof level_4_clean_session_no_keep_alive, user));
}

size_t mqtt_encode_join(char *out, const char *room) {
    char *at = put_text(put_short(out + 1 + LENGTH_BYTES, 1), room);
    *at++ = 0; /* QoS 0 */
    return finish(out, SUBSCRIBE, at);
}

size_t mqtt_encode_send(char *out, const char *room, uint64_t id, const char *text, size_t text_bytes) {
    char *at = put_text(out + 1 + LENGTH_BYTES, room);
    return finish(out, PUBLISH, at + encode_copy(at, id, text, text_bytes));
}

/* What the load generator says and understands. Pure: buffers in, buffers out.
 *
 * line   fastchat's JSON lines
 * ws     the same documents, one per WebSocket text message
 * floor  the lines of the programs in ../floors
 */
#ifndef DIALECT_H
#define DIALECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dialect { DIALECT_FLOOR, DIALECT_LINE, DIALECT_WS };

enum kind {
    KIND_MESSAGE,
    KIND_SENT,
    KIND_JOINED,
    KIND_WELCOME,
    KIND_PONG,
    KIND_LAGGED,
    KIND_ERROR,
    KIND_WS_PING,
    KIND_WS_CLOSE,
    KIND_OTHER
};

struct document {
    enum kind kind;
    const char *bytes; /* the JSON, or a control frame's payload */
    size_t length;
};

/* Bytes that arrived and where parsing them has come to. */
struct input {
    const char *at;
    const char *end;
    bool broken; /* not the dialect: a masked server frame, a document over any sensible size */
};

/* Takes the next whole document; false when what is left is only a part of one. */
bool dialect_next(enum dialect dialect, struct input *input, struct document *document);

/* Takes the answer to the upgrade request: 1 accepted, 0 not there yet, -1 refused. */
int dialect_upgraded(struct input *input);

/* The value of an unsigned field like `"seq":` in the document's first bytes; false where it is absent. */
bool document_number(const struct document *document, const char *field, uint64_t *value);

/* The encoders write to `out`, which must have room for `dialect_room(text_bytes)`, and return the size. */
size_t dialect_room(size_t text_bytes);
size_t encode_upgrade(char *out, const char *host);
size_t encode_hello(enum dialect dialect, char *out, const char *user);
size_t encode_join(enum dialect dialect, char *out, const char *room);
size_t encode_send(enum dialect dialect, char *out, const char *room, uint64_t id, const char *text,
                   size_t text_bytes);
size_t encode_ping(enum dialect dialect, char *out);
size_t encode_ws_pong(char *out, const char *payload, size_t length);

#endif

/* What a dialect gives to the generator: bytes parsed into documents, documents encoded into bytes. */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind {
    KIND_MESSAGE,
    KIND_SENT,
    KIND_JOINED,
    KIND_WELCOME,
    KIND_PONG,
    KIND_LAGGED,
    KIND_ERROR,
    KIND_PING, /* has to be answered */
    KIND_WS_CLOSE,
    KIND_OTHER
};

struct document {
    enum kind kind;
    const char *bytes; /* the JSON, or a control frame's payload */
    size_t length;
    uint64_t tag;  /* amqp: what KIND_SENT confirms */
    bool multiple; /* and everything before it */
};

/* Bytes that arrived and where parsing them has come to. */
struct input {
    const char *at;
    const char *end;
    bool broken; /* not the dialect: a masked server frame, a document over any sensible size */
};

#endif

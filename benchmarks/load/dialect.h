/* What the load generator says and understands. Pure: buffers in, buffers out.
 *
 * line   fastchat's JSON lines
 * ws     the same documents, one per WebSocket text message
 * floor  the lines of the programs in ../floors
 * nats   a publisher of NATS JetStream (nats.h)
 * amqp   a publisher of RabbitMQ (amqp.h)
 * echo-line, echo-ws   servers that send everyone what one says (echo.h)
 * nats-core   a subject's members, without JetStream (nats.h)
 * mqtt   a topic's members (mqtt.h)
 * irc    a channel's members (irc.h)
 */
#ifndef DIALECT_H
#define DIALECT_H

#include "wire.h"

enum dialect {
    DIALECT_FLOOR,
    DIALECT_LINE,
    DIALECT_WS,
    DIALECT_NATS,
    DIALECT_AMQP,
    DIALECT_ECHO_LINE, /* from here on messages are copies */
    DIALECT_ECHO_WS,
    DIALECT_NATS_CORE,
    DIALECT_MQTT,
    DIALECT_IRC
};

extern const char *const dialect_names[]; /* in the enumeration's order; NULL behind the last one */

bool dialect_upgrades(enum dialect dialect);

/* Members receive what was sent as it is, without a number; see encode_copy. A sender's own copy is its
 * acknowledgement; only an IRC server keeps it back, and gives another one. */
bool dialect_copies(enum dialect dialect);

/* A join has to wait for the welcome. */
bool dialect_welcomes_first(enum dialect dialect);

/* Nothing is said about it when a connection has joined. */
bool dialect_joins_silently(enum dialect dialect);

/* Takes the next whole document; false when what is left is only a part of one. */
bool dialect_next(enum dialect dialect, struct input *input, struct document *document);

/* The value of an unsigned field like `"seq":` in the document's first bytes; false where it is absent. */
bool document_number(const struct document *document, const char *field, uint64_t *value);

/* The encoders write to `out`, which must have room for `dialect_room(text_bytes)`, and return the size. */
size_t dialect_room(size_t text_bytes);
size_t encode_upgrade(enum dialect dialect, char *out, const char *host);
size_t encode_hello(enum dialect dialect, char *out, const char *user);
size_t encode_join(enum dialect dialect, char *out, const char *room, bool receives);
/* To come back after event `after`; fastchat's dialects only. */
size_t encode_return(enum dialect dialect, char *out, const char *room, int after);
size_t encode_send(enum dialect dialect, char *out, const char *room, const char *user, uint64_t id,
                   const char *text, size_t text_bytes);
size_t encode_ping(enum dialect dialect, char *out);
/* What KIND_PING asks for. */
size_t encode_pong(enum dialect dialect, char *out, const char *payload, size_t length);

#endif

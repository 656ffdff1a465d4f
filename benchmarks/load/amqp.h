/* AMQP 0-9-1, as far as a publisher with confirms speaks it. Pure: buffers in, buffers out.
 *
 * Messages are persistent and go to amq.fanout, where the durable queue `room` is bound. Who receives them
 * has a queue of its own there, which is exclusive and in memory, and acknowledges nothing.
 */
#ifndef AMQP_H
#define AMQP_H

#include "wire.h"

/* Which of a channel's messages are confirmed. At most 64 may be outstanding. */
struct confirms {
    uint64_t upto;  /* all up to this one */
    uint64_t above; /* bit i: also upto + 1 + i */
};

/* Takes a KIND_SENT; returns how many messages it confirms. */
uint64_t amqp_confirm(struct confirms *confirms, const struct document *document);

bool amqp_next(struct input *input, struct document *document);
size_t amqp_encode_hello(char *out);
size_t amqp_encode_join(char *out, const char *room, bool receives);
size_t amqp_encode_send(char *out, const char *text, size_t text_bytes);

#endif

/* NATS's text protocol, as far as a JetStream publisher speaks it. Pure: buffers in, buffers out.
 *
 * A message is published to subject `room`, with a reply subject below the sender's own inbox, where the
 * server puts its acknowledgement when the stream has the message.
 */
#ifndef NATS_H
#define NATS_H

#include "wire.h"

bool nats_next(struct input *input, struct document *document);
size_t nats_encode_hello(char *out, const char *user);
size_t nats_encode_join(char *out, const char *room, bool receives);
size_t nats_encode_send(char *out, const char *room, const char *user, uint64_t id, const char *text,
                        size_t text_bytes);
size_t nats_encode_pong(char *out);

#endif

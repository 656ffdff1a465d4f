/* NATS's text protocol, as far as a publisher and a subscriber speak it. Pure: buffers in, buffers out.
 *
 * A message is published to subject `room`. JetStream gets a reply subject too, below the sender's own inbox,
 * where the server puts its acknowledgement when the stream has the message.
 */
#ifndef NATS_H
#define NATS_H

#include "wire.h"

bool nats_next(struct input *input, struct document *document);
size_t nats_encode_hello(char *out, const char *user);
size_t nats_encode_join(char *out, const char *room, bool receives);
size_t nats_encode_send(char *out, const char *room, const char *user, uint64_t id, const char *text,
                        size_t text_bytes);
/* Without JetStream. */
size_t nats_encode_copy(char *out, const char *room, uint64_t id, const char *text, size_t text_bytes);
size_t nats_encode_pong(char *out);

#endif

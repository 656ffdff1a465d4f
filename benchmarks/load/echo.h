/* Servers that send everyone, the sender included, exactly what one connection says. Pure.
 *
 * echo-ws: a WebSocket message each; a connection has joined with its upgrade. echo-line: a line each; the
 * server's first line, whatever it says, tells that the connection has joined.
 */
#ifndef ECHO_H
#define ECHO_H

#include "wire.h"

bool echo_next_line(struct input *input, struct document *document);

/* What dialects without a `seq` send: exactly `text_bytes` (at least COPY_ID_BYTES) that begin with the id. */
enum { COPY_ID_BYTES = 10 };
size_t encode_copy(char *out, uint64_t id, const char *text, size_t text_bytes);

/* The id of such a message; false where it has none. */
bool copy_id(const struct document *document, uint64_t *id);

#endif

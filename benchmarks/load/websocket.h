/* RFC 6455 as a client speaks it. Pure: buffers in, buffers out. */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include "wire.h"

/* Takes the next whole frame. A text or binary message has KIND_MESSAGE, whatever is in it. */
bool websocket_next(struct input *input, struct document *document);

/* The request for /ws; `subprotocol` may be NULL. */
size_t websocket_encode_upgrade(char *out, const char *host, const char *subprotocol);

/* Takes the answer to it: 1 accepted, 0 not there yet, -1 refused. */
int websocket_upgraded(struct input *input);

/* The payload may already be at `out`. */
size_t websocket_encode_text(char *out, const char *payload, size_t length);
size_t websocket_encode_pong(char *out, const char *payload, size_t length);

#endif

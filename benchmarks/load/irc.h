/* IRC (RFC 2812), as far as a channel's member speaks it. Pure: buffers in, buffers out.
 *
 * A server does not send a message back to its sender. So each is followed by a PING with the message's id,
 * whose PONG is the acknowledgement: the server answers a connection's commands in their order, so it
 * comes when the message has been given to every member's connection.
 */
#ifndef IRC_H
#define IRC_H

#include "wire.h"

bool irc_next(struct input *input, struct document *document);
size_t irc_encode_hello(char *out, const char *user);
size_t irc_encode_join(char *out, const char *room);
size_t irc_encode_send(char *out, const char *room, uint64_t id, const char *text, size_t text_bytes);
size_t irc_encode_pong(char *out, const char *token, size_t length);

#endif

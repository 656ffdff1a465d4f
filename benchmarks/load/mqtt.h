/* MQTT 3.1.1 with QoS 0, as far as a chat room's member speaks it. Pure: buffers in, buffers out.
 *
 * Everyone subscribes to the topic `room`, so a sender receives its own messages too. There is no keep-alive,
 * so no pings are due.
 */
#ifndef MQTT_H
#define MQTT_H

#include "wire.h"

bool mqtt_next(struct input *input, struct document *document);
size_t mqtt_encode_hello(char *out, const char *user);
size_t mqtt_encode_join(char *out, const char *room);
size_t mqtt_encode_send(char *out, const char *room, uint64_t id, const char *text, size_t text_bytes);

#endif

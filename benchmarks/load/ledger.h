/* What was sent, and up to which of each sender's messages every connection has received.
 *
 * Messages are known by their id, which counts up over all senders. Servers that don't number events are
 * checked with this: a connection has to receive each sender's messages in their order and without holes.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stdint.h>

/* Exits when there is no memory. `connections` may be 0 where nothing is to be checked. */
void ledger_prepare(int connections, int senders);

/* Enters the message that `sender` (0 …) sends next and returns its id. */
uint64_t ledger_add(uint64_t sent_us, int sender);

/* One more than the last id. */
uint64_t ledger_next_id(void);

/* The id MUST be one of the last million. */
uint64_t ledger_sent_us(uint64_t id);
int ledger_sender(uint64_t id);

/* Takes all connections for having received everything so far. */
void ledger_catch_up(void);

/* `missed` is set to the number of that sender's messages that the connection should have received before.
 * Returns false when it has already received this one, or one that was sent later. */
bool ledger_receive(int connection, uint64_t id, uint64_t *missed);

#endif

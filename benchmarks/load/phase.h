/* One measured phase: what is sent when, and what is counted. */
#ifndef PHASE_H
#define PHASE_H

#include <stdbool.h>
#include <stdint.h>

/* Starts sending; `messages` limits the phase where it is not 0. */
void phase_start(uint64_t messages);

/* Sends what is due. Returns false when the phase is over (and its result printed). */
bool phase_pump(void);

/* No more is sent; the phase ends when what was sent has arrived. */
void phase_stop(void);

/* When phase_pump wants to be called even if nothing arrives, in microseconds; 0: whenever. */
uint64_t phase_due_us(void);

#endif

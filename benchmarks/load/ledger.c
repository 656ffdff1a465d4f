#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>

/* Ids wrap around in this many places. */
enum { REMEMBERED = 1 << 20 };

static struct {
    uint64_t sent_us;
    uint32_t sender;
    uint32_t number; /* of the sender's messages, from 1 on */
} sent[REMEMBERED];

static uint64_t next_id = 1;
static uint32_t *sent_by; /* messages, per sender */
static uint32_t *received; /* the last number, per connection and sender */
static int connection_count, sender_count;

void ledger_prepare(int connections, int senders) {
    connection_count = connections;
    sender_count = senders > 0 ? senders : 1;
    sent_by = calloc((size_t)sender_count, sizeof *sent_by);
    received = calloc((size_t)connections * (size_t)sender_count + 1, sizeof *received);
    if (sent_by && received) return;
    perror("calloc");
    exit(1);
}

uint64_t ledger_add(uint64_t sent_us, int sender) {
    uint64_t id = next_id++;
    sent[id % REMEMBERED].sent_us = sent_us;
    sent[id % REMEMBERED].sender = (uint32_t)sender;
    sent[id % REMEMBERED].number = ++sent_by[sender];
    return id;
}

uint64_t ledger_next_id(void) { return next_id; }

uint64_t ledger_sent_us(uint64_t id) { return sent[id % REMEMBERED].sent_us; }

int ledger_sender(uint64_t id) { return (int)sent[id % REMEMBERED].sender; }

void ledger_catch_up(void) {
    for (int i = 0; i < connection_count; i++) {
        for (int j = 0; j < sender_count; j++) received[(size_t)i * (size_t)sender_count + (size_t)j] = sent_by[j];
    }
}

bool ledger_receive(int connection, uint64_t id, uint64_t *missed) {
    size_t sender = sent[id % REMEMBERED].sender;
    uint32_t number = sent[id % REMEMBERED].number;
    uint32_t *last = &received[(size_t)connection * (size_t)sender_count + sender];
    *missed = 0;
    if (number <= *last) return false;
    *missed = number - *last - 1;
    *last = number;
    return true;
}

/* The command line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "dialect.h"

enum mode { MODE_ONE, MODE_WINDOW, MODE_PACED, MODE_PING, MODE_IDLE, MODE_RETURN, MODE_HERD };

struct options {
    enum mode mode;
    enum dialect dialect;
    int port;
    int subscribers;
    int senders;
    int stuck;          /* members that stop reading */
    int stagger;        /* stuck member i does so after i * stagger messages; 0: once it has joined */
    int rooms;          /* members are spread over so many rooms; each sends to its own */
    int joins;          /* and is in so many, all but the first one the same for all */
    const char *room;
    const char *prefix; /* of the users' names, so that several generators can share a server */
    int text_bytes;
    int window;         /* messages that one sender has outstanding at most */
    int lag;            /* senders wait when the slowest subscriber is this many messages behind; 0: never */
    double rate_per_s;  /* paced mode, all senders together */
    double interval_ms; /* ping mode */
    double seconds;     /* a phase sends no longer than this */
    double grace_s;     /* and then waits this long for what is still missing */
    int receive;        /* nats, amqp: 1: everyone also gets every message, as in a chat room */
    int after;          /* return and herd mode: the seq that everyone comes back with */
    uint64_t messages;  /* and sends at most so many; 0: no limit */
    int verify;         /* subscribers whose events are checked for order, holes and delay */
    int acks;           /* 1: delays are those of acknowledgements, not of deliveries */
    int connecting;     /* connections being opened at once */
};

extern struct options options;

/* Exits with 2 and the usage when the command line is wrong. */
void options_parse(int argc, char **argv);

#endif

/* What both floors share: the least that a broadcast server over TCP lines has to do.
 *
 * A connection whose first line is "S" is a member: every line that any connection sends after its first
 * one becomes one event, and every member receives it. An event is one JSON line of a chosen size, so that
 * a floor can be compared with a chat server at equal bytes per delivery. Whoever sent the line is
 * answered with one acknowledgement, of a chosen size too.
 *
 * Events are appended to one log that all members share; a member is a cursor into it. So a member whose
 * socket is full costs neither a copy nor a lost event. The two programs differ only in when they bring
 * the cursors to the head of the log, and with which system call.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include <stdbool.h>
#include <stddef.h>

enum { MAX_CONNECTIONS = 65536, LOG_BYTES = 64 << 20, ACKS_BYTES = 1 << 16 };

struct connection {
    int fd;
    bool greeted;   /* the first line has arrived */
    bool member;
    bool waiting;   /* for EPOLLOUT */
    bool behind;    /* cursor < floor_log.head, counted in floor_log.behind */
    bool in_event;  /* the last write ended inside an event: no acknowledgement may go in between */
    size_t cursor;  /* into floor_log.bytes */
    char *line;     /* a line whose end has not arrived */
    size_t line_length;
    char *acks;     /* not yet written; allocated at the first sent line */
    size_t acks_length;
};

struct log {
    char *bytes;
    size_t head;
    size_t behind; /* members that have not reached the head */
};

extern struct log floor_log;
extern struct connection *floor_members[MAX_CONNECTIONS];
extern size_t floor_member_count;

/* What a program decides. `on_event` is called when an event was appended (its acknowledgement is in
 * sender->acks), `on_round` after everything that one epoll_wait reported was read. */
struct policy {
    void (*on_event)(struct connection *sender);
    void (*on_round)(void);
};

/* Brings one member to the head as far as its socket takes it. Waits for EPOLLOUT where it does not. */
void floor_flush(struct connection *connection);

/* Accounts for what a system call wrote of the member's log span and acknowledgements. */
void floor_wrote(struct connection *connection, size_t events_written, size_t acks_written);

/* Remembers that the socket is full (EAGAIN, or it took only a part). */
void floor_wait(struct connection *connection);

/* Parses the command line, listens, prints {"line": "HOST:PORT", "pid": N} and serves until killed. */
int floor_main(int argc, char **argv, const struct policy *policy);

#endif

/* The generator's connections: opening them, reading documents, writing commands. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include "amqp.h"
#include "dialect.h"

enum role { ROLE_SUBSCRIBER, ROLE_SENDER, ROLE_STUCK, ROLE_PINGER };
enum state { STATE_NEW, STATE_CONNECTING, STATE_UPGRADING, STATE_JOINING, STATE_JOINED, STATE_CLOSED };

struct bytes {
    char *data;
    size_t length;
    size_t room;
};

struct connection {
    int fd;
    int index;
    enum role role;
    enum state state;
    bool verified;     /* every event is checked for its seq, and its delay is recorded */
    bool writing;      /* waits for EPOLLOUT */
    bool deaf;         /* not watched any more */
    int joins;         /* rooms that it has been told to be in */
    uint64_t last_seq; /* 0: unknown */
    uint64_t received; /* events of this phase, missed ones included */
    uint64_t missed;   /* of these; copies only */
    uint64_t outstanding;
    struct confirms confirms; /* amqp */
    char user[32];
    char room[96];     /* where it is a member, and what it sends goes */
    struct bytes in;   /* a document's first part */
    struct bytes out;  /* what the socket did not take yet */
};

extern struct connection *connections;
extern int connection_count;
extern uint64_t now_us; /* when the current read or round began */

void clock_read(void);

/* Allocates all connections; none is open yet. */
void connections_prepare(int epoll_fd);

/* Opens more, no more than options.connecting at once. Returns true when all have joined. */
bool connections_open(void);

/* To be called with what epoll reported. */
void connection_serve(struct connection *connection, uint32_t events);

/* Room for `size` more bytes behind what is waiting to be sent; commit what was written there. */
char *connection_reserve(struct connection *connection, size_t size);
void connection_commit(struct connection *connection, size_t size);
void connection_flush(struct connection *connection);

/* For good, from the end of the current read on. */
void connection_stop_reading(struct connection *connection);

/* The other side of the interface, see phase.c. Returns nothing; MUST NOT close the connection. */
void phase_on_document(struct connection *connection, const struct document *document);
void phase_on_read(struct connection *connection, uint64_t received_before, size_t bytes);
void phase_on_close(struct connection *connection);

#endif

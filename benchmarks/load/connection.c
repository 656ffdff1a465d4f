#define _GNU_SOURCE
#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "options.h"
#include "websocket.h"

/* One read takes up to this much behind what was kept of the read before. A local address is good for
 * some 28,000 ports, of which a few may still be waiting to be closed. */
enum { READ_BYTES = 256 << 10, KEPT_BYTES = 256 << 10, CONNECTIONS_PER_ADDRESS = 20000 };

struct connection *connections;
int connection_count;
uint64_t now_us;

static int epoll;
static int opening, next_to_open, joined;

void clock_read(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(epoll, operation, connection->fd, &event) != 0) fail("epoll_ctl");
}

static enum role role_of(int index) {
    if (options.mode == MODE_PING) return ROLE_PINGER;
    if (index < options.stuck) return ROLE_STUCK;
    return index < options.stuck + options.subscribers ? ROLE_SUBSCRIBER : ROLE_SENDER;
}

/* Spread evenly: a server goes through its members in the order in which they came, so the first ones see the
 * smallest delays. */
static bool is_verified(int index) {
    long subscriber = index - options.stuck;
    if (role_of(index) != ROLE_SUBSCRIBER) return false;
    if (options.verify >= options.subscribers) return true;
    return (subscriber + 1) * options.verify / options.subscribers != subscriber * options.verify / options.subscribers;
}

void connections_prepare(int epoll_fd) {
    epoll = epoll_fd;
    connection_count = options.stuck + options.subscribers + options.senders;
    connections = calloc((size_t)connection_count + 1, sizeof *connections);
    if (!connections) fail("calloc");
    for (int i = 0; i < connection_count; i++) {
        struct connection *connection = &connections[i];
        connection->index = i;
        connection->fd = -1;
        connection->role = role_of(i);
        connection->verified = is_verified(i);
    }
}

/* ---- writing ---- */

static void bytes_reserve(struct bytes *bytes, size_t size) {
    if (bytes->length + size <= bytes->room) return;
    bytes->room = bytes->length + size > 2 * bytes->room ? bytes->length + size : 2 * bytes->room;
    bytes->data = realloc(bytes->data, bytes->room);
    if (!bytes->data) fail("realloc");
}

char *connection_reserve(struct connection *connection, size_t size) {
    bytes_reserve(&connection->out, size);
    return connection->out.data + connection->out.length;
}

void connection_commit(struct connection *connection, size_t size) { connection->out.length += size; }

void connection_flush(struct connection *connection) {
    struct bytes *out = &connection->out;
    if (out->length == 0 || connection->deaf || connection->state == STATE_CLOSED) return;
    ssize_t sent = send(connection->fd, out->data, out->length, MSG_NOSIGNAL);
    if (sent > 0) {
        out->length -= (size_t)sent;
        memmove(out->data, out->data + sent, out->length);
    }
    bool writing = out->length > 0;
    if (writing != connection->writing) watch(connection, EPOLL_CTL_MOD, EPOLLIN | (writing ? EPOLLOUT : 0U));
    connection->writing = writing;
}

/* ---- opening ---- */

static void connection_close(struct connection *connection, const char *why) {
    if (connection->state != STATE_JOINED) {
        fprintf(stderr, "connection %d ended before it had joined: %s\n", connection->index, why);
        exit(1);
    }
    connection->state = STATE_CLOSED;
    close(connection->fd);
    phase_on_close(connection);
}

static void connection_connect(struct connection *connection) {
    struct sockaddr_in local = {.sin_family = AF_INET};
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    int one = 1, small = 4096;
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(connection->index / CONNECTIONS_PER_ADDRESS));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (connection->role == ROLE_STUCK) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (bind(fd, (struct sockaddr *)&local, sizeof local) != 0) fail("bind");
    if (connect(fd, (struct sockaddr *)&server, sizeof server) != 0 && errno != EINPROGRESS) fail("connect");
    connection->state = STATE_CONNECTING;
    connection->writing = true;
    watch(connection, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    opening++;
}

bool connections_open(void) {
    while (next_to_open < connection_count && opening < options.connecting)
        connection_connect(&connections[next_to_open++]);
    return joined == connection_count;
}

static void send_upgrade(struct connection *connection) {
    char host[32];
    sprintf(host, "127.0.0.1:%d", options.port);
    char *out = connection_reserve(connection, dialect_room(0));
    connection_commit(connection, encode_upgrade(options.dialect, out, host));
    connection->state = STATE_UPGRADING;
}

/* Pingers need no room, and who comes back waits for its phase to begin. */
static bool joins_at_once(const struct connection *connection) {
    return connection->role != ROLE_PINGER && options.mode != MODE_RETURN;
}

static void put_joins(struct connection *connection) {
    char room[96];
    for (int i = 0; i < options.joins; i++) {
        snprintf(room, sizeof room, i > 0 ? "%s.%d" : "%s", i > 0 ? options.room : connection->room, i);
        char *out = connection_reserve(connection, dialect_room(0));
        size_t size = options.mode == MODE_HERD
                          ? encode_return(options.dialect, out, room, options.after)
                          : encode_join(options.dialect, out, room, options.receive);
        connection_commit(connection, size);
    }
}

static void send_greeting(struct connection *connection) {
    snprintf(connection->user, sizeof connection->user, "%s%d", options.prefix, connection->index);
    snprintf(connection->room, sizeof connection->room, options.rooms > 1 ? "%s-%d" : "%s", options.room,
             connection->index % options.rooms);
    char *out = connection_reserve(connection, dialect_room(0));
    connection_commit(connection, encode_hello(options.dialect, out, connection->user));
    if (joins_at_once(connection) && !dialect_welcomes_first(options.dialect)) put_joins(connection);
    connection->state = STATE_JOINING;
}

static void on_connected(struct connection *connection) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        connection_close(connection, strerror(error));
        return;
    }
    if (dialect_upgrades(options.dialect)) {
        send_upgrade(connection);
    } else {
        send_greeting(connection);
    }
    connection_flush(connection);
}

/* What the server sends from here on stays in the kernel's buffers. */
void connection_stop_reading(struct connection *connection) {
    if (!connection->deaf) watch(connection, EPOLL_CTL_DEL, 0);
    connection->deaf = true;
}

static void on_joined(struct connection *connection) {
    connection->state = STATE_JOINED;
    opening--;
    joined++;
    if (connection->role == ROLE_STUCK && options.stagger == 0) connection_stop_reading(connection);
}

/* ---- reading ---- */

static void on_document(struct connection *connection, const struct document *document) {
    enum kind awaited = joins_at_once(connection) ? KIND_JOINED : KIND_WELCOME;
    if (document->kind == KIND_PING && document->length <= 125) {
        char *out = connection_reserve(connection, dialect_room(document->length));
        connection_commit(connection, encode_pong(options.dialect, out, document->bytes, document->length));
    } else if (connection->state == STATE_JOINING && document->kind == awaited) {
        if (awaited != KIND_JOINED || ++connection->joins == options.joins) on_joined(connection);
    } else if (document->kind == KIND_WELCOME && dialect_welcomes_first(options.dialect)) {
        put_joins(connection);
    } else if (connection->state == STATE_JOINING && document->kind == KIND_ERROR) {
        fprintf(stderr, "refused: %.*s\n", (int)document->length, document->bytes);
        exit(1);
    } else {
        phase_on_document(connection, document);
    }
}

/* Returns false where the input is not what the dialect allows. */
static bool parse_documents(struct connection *connection, struct input *input) {
    struct document document;
    if (connection->state == STATE_UPGRADING) {
        int accepted = websocket_upgraded(input);
        if (accepted == 0) return true;
        if (accepted < 0) return false;
        send_greeting(connection);
        if (dialect_joins_silently(options.dialect)) on_joined(connection);
    }
    while (dialect_next(options.dialect, input, &document)) on_document(connection, &document);
    return !input->broken;
}

static void keep_rest(struct connection *connection, const struct input *input) {
    size_t left = (size_t)(input->end - input->at);
    connection->in.length = 0;
    if (left == 0) return;
    bytes_reserve(&connection->in, left);
    memcpy(connection->in.data, input->at, left);
    connection->in.length = left;
}

static void connection_read(struct connection *connection) {
    static char buffer[KEPT_BYTES + READ_BYTES];
    size_t kept = connection->in.length;
    ssize_t got = recv(connection->fd, buffer + kept, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        connection_close(connection, got == 0 ? "end of stream" : strerror(errno));
        return;
    }
    if (kept > 0) memcpy(buffer, connection->in.data, kept);
    struct input input = {buffer, buffer + kept + (size_t)got, false};
    uint64_t received_before = connection->received;
    clock_read();
    if (!parse_documents(connection, &input)) {
        connection_close(connection, "unexpected bytes");
        return;
    }
    keep_rest(connection, &input);
    phase_on_read(connection, received_before, (size_t)got);
    if (!connection->writing) connection_flush(connection);
}

void connection_serve(struct connection *connection, uint32_t events) {
    if (connection->state == STATE_CLOSED) return;
    if (connection->state == STATE_CONNECTING) {
        if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) on_connected(connection);
        return;
    }
    if (events & EPOLLOUT) connection_flush(connection);
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) connection_read(connection);
}

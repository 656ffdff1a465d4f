/* The common part of the floors: see floor.h. */
#define _GNU_SOURCE
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROUND_EVENTS = 1024, READ_BYTES = 64 << 10, MAX_LINE = 64 << 10, LOG_RESET_BYTES = 1 << 20 };

struct log floor_log;
struct connection *floor_members[MAX_CONNECTIONS];
size_t floor_member_count;

static struct connection *connections[MAX_CONNECTIONS]; /* by descriptor */
static struct connection *ackers[MAX_CONNECTIONS];      /* not members, with acknowledgements to write */
static size_t acker_count;
static int epoll_fd;
static uint64_t last_seq;
static size_t event_bytes = 176, ack_bytes = 96;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = connection->fd};
    if (epoll_ctl(epoll_fd, operation, connection->fd, &event) != 0) fail("epoll_ctl");
}

static void open_connections(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        if (fd >= MAX_CONNECTIONS) {
            close(fd);
            continue;
        }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection) fail("calloc");
        connection->fd = fd;
        connections[fd] = connection;
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void remove_from(struct connection **list, size_t *count, const struct connection *connection) {
    for (size_t i = 0; i < *count; i++) {
        if (list[i] == connection) {
            list[i] = list[--*count];
            return;
        }
    }
}

static void close_connection(struct connection *connection) {
    if (connection->behind) floor_log.behind--;
    remove_from(floor_members, &floor_member_count, connection);
    remove_from(ackers, &acker_count, connection);
    connections[connection->fd] = NULL;
    close(connection->fd);
    free(connection->line);
    free(connection->acks);
    free(connection);
}

void floor_wait(struct connection *connection) {
    if (connection->waiting) return;
    connection->waiting = true;
    watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

void floor_wrote(struct connection *connection, size_t events_written, size_t acks_written) {
    connection->cursor += events_written;
    bool behind = connection->member && connection->cursor < floor_log.head;
    if (events_written > 0) connection->in_event = behind;
    if (behind != connection->behind) floor_log.behind += behind ? 1 : (size_t)-1;
    connection->behind = behind;
    if (acks_written > 0) {
        connection->acks_length -= acks_written;
        memmove(connection->acks, connection->acks + acks_written, connection->acks_length);
    }
}

/* The catching-up of a member whose socket was full, and the only write of a sender that is no member. */
void floor_flush(struct connection *connection) {
    size_t span = connection->member ? floor_log.head - connection->cursor : 0;
    struct iovec events = {floor_log.bytes + connection->cursor, span};
    struct iovec acks = {connection->acks, connection->acks_length};
    struct iovec parts[2] = {acks, events};
    if (connection->in_event) parts[0] = events, parts[1] = acks;
    if (events.iov_len + acks.iov_len == 0) return;
    ssize_t written = writev(connection->fd, parts, 2);
    if (written < 0 && errno != EAGAIN) return; /* epoll reports the hang-up */
    size_t taken = written < 0 ? 0 : (size_t)written;
    size_t first = taken < parts[0].iov_len ? taken : parts[0].iov_len;
    size_t events_taken = connection->in_event ? first : taken - first;
    floor_wrote(connection, events_taken, taken - events_taken);
    if (taken < events.iov_len + acks.iov_len) floor_wait(connection);
}

static void append_ack(struct connection *sender) {
    if (!sender->acks && !(sender->acks = malloc(ACKS_BYTES))) fail("malloc");
    if (sender->acks_length + ack_bytes > ACKS_BYTES) return; /* it does not read; its own window is the limit */
    char *ack = sender->acks + sender->acks_length;
    memset(ack, ' ', ack_bytes);
    memcpy(ack, "{\"type\":\"sent\"", 14);
    memcpy(ack + ack_bytes - 2, "}\n", 2);
    sender->acks_length += ack_bytes;
    if (!sender->member && sender->acks_length == ack_bytes && acker_count < MAX_CONNECTIONS)
        ackers[acker_count++] = sender;
}

/* A line is "ID TEXT"; the event says both and is filled up to `event_bytes`. */
static void append_event(const char *line, size_t length) {
    if (floor_log.head + event_bytes + length + 128 > LOG_BYTES) fail("the log is full");
    char *event = floor_log.bytes + floor_log.head;
    const char *space = memchr(line, ' ', length);
    size_t id_length = space ? (size_t)(space - line) : length;
    size_t size = (size_t)sprintf(event, "{\"type\":\"message\",\"seq\":%llu,\"id\":\"%.*s\",\"text\":\"",
                                  (unsigned long long)++last_seq, (int)id_length, line);
    size_t text_length = length - id_length;
    memcpy(event + size, line + id_length, text_length);
    size += text_length;
    if (size + 3 < event_bytes) {
        memset(event + size, 'x', event_bytes - 3 - size);
        size = event_bytes - 3;
    }
    memcpy(event + size, "\"}\n", 3);
    floor_log.head += size + 3;
}

static void greet(struct connection *connection, const char *line, size_t length) {
    static const char joined[] = "{\"type\":\"joined\"}\n";
    connection->greeted = true;
    connection->member = length == 1 && line[0] == 'S';
    connection->cursor = floor_log.head;
    if (connection->member) floor_members[floor_member_count++] = connection;
    if (send(connection->fd, joined, sizeof joined - 1, MSG_NOSIGNAL) < 0) return; /* epoll reports it */
}

static void receive_line(struct connection *connection, const char *line, size_t length,
                         const struct policy *policy) {
    if (!connection->greeted) {
        greet(connection, line, length);
        return;
    }
    append_event(line, length);
    append_ack(connection);
    policy->on_event(connection);
}

static void keep_rest(struct connection *connection, const char *rest, size_t length) {
    if (!connection->line && !(connection->line = malloc(MAX_LINE))) fail("malloc");
    memcpy(connection->line, rest, length);
    connection->line_length = length;
}

/* Returns false when the connection is over. */
static bool read_lines(struct connection *connection, const struct policy *policy) {
    static char buffer[MAX_LINE + READ_BYTES];
    size_t kept = connection->line_length;
    ssize_t got = recv(connection->fd, buffer + kept, READ_BYTES, 0);
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    if (kept > 0) memcpy(buffer, connection->line, kept);
    connection->line_length = 0;
    char *at = buffer, *end = buffer + kept + (size_t)got, *newline;
    while ((newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        receive_line(connection, at, (size_t)(newline - at), policy);
        at = newline + 1;
    }
    if (end - at >= MAX_LINE) return false;
    if (at < end) keep_rest(connection, at, (size_t)(end - at));
    return true;
}

/* While everyone has everything the log starts anew, so that it stays in the processor's cache. */
static void reset_log(void) {
    if (floor_log.head < LOG_RESET_BYTES || floor_log.behind > 0) return;
    floor_log.head = 0;
    for (size_t i = 0; i < floor_member_count; i++) floor_members[i]->cursor = 0;
}

/* Senders wait while members are this far behind. (epoll then reports them again and again: a floor is not
 * measured in that state.) */
static bool log_has_room(void) { return floor_log.head < LOG_BYTES / 2; }

static void serve_connection(struct connection *connection, uint32_t events, const struct policy *policy) {
    if (events & EPOLLOUT) {
        connection->waiting = false;
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
        floor_flush(connection);
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    bool readable_later = !log_has_room() && !(events & (EPOLLHUP | EPOLLERR));
    if (!readable_later && !read_lines(connection, policy)) close_connection(connection);
}

static void serve(int listener, const struct policy *policy) {
    struct epoll_event events[ROUND_EVENTS];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, ROUND_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener) {
                open_connections(listener);
            } else if (connections[events[i].data.fd]) {
                serve_connection(connections[events[i].data.fd], events[i].events, policy);
            }
        }
        policy->on_round();
        for (size_t i = 0; i < acker_count; i++) floor_flush(ackers[i]);
        acker_count = 0;
        reset_log();
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 4096) != 0) fail("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("{\"line\": \"127.0.0.1:%d\", \"pid\": %d}\n", ntohs(address.sin_port), getpid());
    fflush(stdout);
    return fd;
}

int floor_main(int argc, char **argv, const struct policy *policy) {
    int port = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0) port = atoi(argv[i + 1]);
        if (strcmp(argv[i], "--bytes") == 0) event_bytes = (size_t)atoi(argv[i + 1]);
        if (strcmp(argv[i], "--ack-bytes") == 0) ack_bytes = (size_t)atoi(argv[i + 1]);
    }
    if (argc % 2 == 0 || ack_bytes < 16 || ack_bytes > 4096) {
        fprintf(stderr, "usage: %s [--port N] [--bytes N] [--ack-bytes N]\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    floor_log.bytes = malloc(LOG_BYTES);
    if (!floor_log.bytes) fail("malloc");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(port);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) != 0) fail("epoll_ctl");
    serve(listener, policy);
    return 0;
}

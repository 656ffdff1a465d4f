/* Floor 1: one send() per delivery, at once. What a chat server costs that does nothing but broadcast. */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <sys/socket.h>

/* A member whose socket is full gets the event later, with what else it misses. For all others the span
 * between cursor and head is this one event. */
static void deliver(struct connection *member) {
    if (member->waiting) {
        floor_wrote(member, 0, 0);
        return;
    }
    size_t length = floor_log.head - member->cursor;
    ssize_t sent = send(member->fd, floor_log.bytes + member->cursor, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return; /* epoll reports the hang-up */
    floor_wrote(member, sent < 0 ? 0 : (size_t)sent, 0);
    if (member->behind) floor_wait(member);
}

static void acknowledge(struct connection *sender) {
    if (sender->waiting) return; /* floor_flush writes it, behind the event's rest */
    ssize_t sent = send(sender->fd, sender->acks, sender->acks_length, MSG_NOSIGNAL);
    if (sent > 0) floor_wrote(sender, 0, (size_t)sent);
    if (sender->acks_length > 0) floor_wait(sender);
}

static void on_event(struct connection *sender) {
    for (size_t i = 0; i < floor_member_count; i++) deliver(floor_members[i]);
    acknowledge(sender);
}

static void on_round(void) {}

int main(int argc, char **argv) {
    static const struct policy policy = {on_event, on_round};
    return floor_main(argc, argv, &policy);
}

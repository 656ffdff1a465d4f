/* Floor 2: everything that one epoll round brought goes out in one writev() per member.
 *
 * The events lie behind each other in the log, so a member's whole span is one iovec; the other one holds
 * the acknowledgements of a member that also sends. That is the least a coalescing server can do: no
 * iovec per event, no copy per member.
 */
#define _GNU_SOURCE
#include "floor.h"

static void on_event(struct connection *sender) { (void)sender; }

static void on_round(void) {
    for (size_t i = 0; i < floor_member_count; i++) {
        struct connection *member = floor_members[i];
        if (member->waiting) {
            floor_wrote(member, 0, 0); /* its span has grown */
        } else {
            floor_flush(member);
        }
    }
}

int main(int argc, char **argv) {
    static const struct policy policy = {on_event, on_round};
    return floor_main(argc, argv, &policy);
}

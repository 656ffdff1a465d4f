#define _GNU_SOURCE
#include "phase.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "echo.h"
#include "histogram.h"
#include "ledger.h"
#include "options.h"

/* A power of two: progress is counted in a ring by the number received. */
enum { LEVELS = 1 << 20, MAX_ERRORS_SHOWN = 5 };

static struct {
    bool running;
    bool stopping; /* no more is sent */
    bool broken;   /* a sender is gone or was refused: what it had outstanding will never come */
    uint64_t started_us, stopped_us, ended_us;
    uint64_t limit; /* messages */
    uint64_t sent, acked, first_id;
    uint64_t deliveries, sender_deliveries, bytes;
    uint64_t lagged, out_of_order, errors, closed;
    uint64_t next_due_us;
    struct histogram delays;
} phase;

static int errors_shown;

/* How many subscribers have received exactly so many messages, so that the slowest one is known without
 * looking at all of them. */
static uint32_t subscribers_at[LEVELS];
static uint64_t slowest;
static uint32_t subscribers_open;

static int first_sender(void) { return options.stuck + options.subscribers; }

static void progress_reset(void) {
    memset(subscribers_at, 0, sizeof subscribers_at);
    slowest = 0;
    subscribers_open = 0;
    for (int i = 0; i < connection_count; i++) {
        struct connection *connection = &connections[i];
        connection->received = connection->missed = connection->outstanding = 0;
        if (connection->state == STATE_CLOSED) phase.closed++;
        bool there = connection->state == STATE_JOINED || options.mode == MODE_HERD;
        if (connection->role == ROLE_SUBSCRIBER && there) subscribers_open++;
    }
    subscribers_at[0] = subscribers_open;
}

static void progress_move(uint64_t from, uint64_t to) {
    if (to - slowest >= LEVELS) {
        fprintf(stderr, "a subscriber is %d messages behind another one\n", LEVELS);
        exit(1);
    }
    subscribers_at[from % LEVELS]--;
    subscribers_at[to % LEVELS]++;
    while (subscribers_open > 0 && subscribers_at[slowest % LEVELS] == 0) slowest++;
}

/* Each sender has a room of its own: its messages come back to it, and to nobody else. */
static bool senders_are_alone(void) {
    return options.mode == MODE_WINDOW && options.subscribers == 0 && options.rooms > 1 &&
           options.rooms >= options.senders;
}

static bool everyone_has_everything(void) {
    if (senders_are_alone() && phase.sender_deliveries < phase.sent) return false;
    return phase.acked >= phase.sent && (subscribers_open == 0 || slowest >= phase.sent);
}

/* ---- receiving ---- */

static void show_error(const struct document *document) {
    phase.errors++;
    if (errors_shown++ < MAX_ERRORS_SHOWN)
        fprintf(stderr, "error: %.*s\n", (int)document->length, document->bytes);
}

/* Takes the delay of a message of this phase. */
static void add_delay(uint64_t id) {
    if (id >= phase.first_id && id < ledger_next_id()) histogram_add(&phase.delays, now_us - ledger_sent_us(id));
}

static void check_event(struct connection *connection, const struct document *document) {
    uint64_t seq = 0, id = 0;
    if (!document_number(document, "\"seq\":", &seq)) phase.out_of_order++;
    if (connection->last_seq != 0 && seq != connection->last_seq + 1) phase.out_of_order++;
    connection->last_seq = seq;
    if (!options.acks && document_number(document, "\"id\":\"x", &id)) add_delay(id);
}

/* Stuck members stop at different places of the room, so that what is kept for one is not kept for all. */
static void on_stuck_received(struct connection *connection, uint64_t messages) {
    connection->received += messages;
    if (connection->received >= (uint64_t)connection->index * (uint64_t)options.stagger)
        connection_stop_reading(connection);
}

static void on_answers(struct connection *connection, uint64_t count) {
    phase.acked += count;
    connection->outstanding -= count < connection->outstanding ? count : connection->outstanding;
}

/* Who came too early was counted as missing; it is not, but the order was wrong. */
static void on_late_copy(struct connection *connection) {
    phase.out_of_order++;
    if (connection->missed == 0) return; /* a repeat */
    connection->missed--;
    phase.lagged--;
    if (connection->role == ROLE_SUBSCRIBER) phase.deliveries++;
}

/* Every connection checks the order of what it receives. Missed messages count as received, as in on_lagged. */
static void on_copy(struct connection *connection, const struct document *document) {
    uint64_t id = 0, missed = 0;
    bool known = copy_id(document, &id) && document->length == (size_t)options.text_bytes;
    if (!known || id >= ledger_next_id()) {
        show_error(document);
        return;
    }
    if (id < phase.first_id) return; /* of a phase that did not wait for it */
    if (!ledger_receive(connection->index, id, &missed)) {
        on_late_copy(connection);
        return;
    }
    phase.lagged += missed;
    connection->missed += missed;
    connection->received += 1 + missed;
    bool own = ledger_sender(id) == connection->index - first_sender();
    if (connection->role == ROLE_SUBSCRIBER) phase.deliveries++;
    if (connection->role == ROLE_SENDER) phase.sender_deliveries++;
    if (connection->role == ROLE_SENDER && own) on_answers(connection, 1 + missed);
    if (options.acks ? own : connection->verified) add_delay(id);
}

static void on_message(struct connection *connection, const struct document *document) {
    if (connection->role == ROLE_STUCK) {
        on_stuck_received(connection, 1);
        return;
    }
    if (dialect_copies(options.dialect)) {
        on_copy(connection, document);
        return;
    }
    if (connection->role == ROLE_SENDER) {
        phase.sender_deliveries++;
        return;
    }
    phase.deliveries++;
    connection->received++;
    if (connection->verified) check_event(connection, document);
}

/* Missed events count as received, so that senders go on; they are reported as missing all the same. */
static void on_lagged(struct connection *connection, const struct document *document) {
    uint64_t missed = 0;
    document_number(document, "\"missed\":", &missed);
    connection->last_seq = 0;
    if (connection->role == ROLE_STUCK) on_stuck_received(connection, missed);
    if (connection->role != ROLE_SUBSCRIBER) return;
    phase.lagged += missed;
    connection->received += missed;
}

static void on_sent(struct connection *connection, const struct document *document) {
    uint64_t id = 0;
    if (options.dialect == DIALECT_AMQP) {
        on_answers(connection, amqp_confirm(&connection->confirms, document));
        return;
    }
    bool copies = dialect_copies(options.dialect);
    if (copies && (!copy_id(document, &id) || id < phase.first_id)) return;
    on_answers(connection, 1);
    if (options.acks && (copies || document_number(document, "\"id\":\"x", &id))) add_delay(id);
}

void phase_on_document(struct connection *connection, const struct document *document) {
    switch (document->kind) {
    case KIND_MESSAGE: on_message(connection, document); break;
    case KIND_SENT: on_sent(connection, document); break;
    case KIND_LAGGED: on_lagged(connection, document); break;
    case KIND_PONG:
        add_delay(phase.first_id + phase.acked);
        on_answers(connection, 1);
        break;
    case KIND_ERROR:
        show_error(document);
        phase.broken = true;
        break;
    default: break;
    }
}

void phase_on_read(struct connection *connection, uint64_t received_before, size_t bytes) {
    if (connection->role != ROLE_SUBSCRIBER) return;
    phase.bytes += bytes;
    if (connection->received != received_before) progress_move(received_before, connection->received);
}

void phase_on_close(struct connection *connection) {
    phase.closed++;
    if (connection->role == ROLE_SENDER || connection->role == ROLE_PINGER) phase.broken = true;
    if (connection->role != ROLE_SUBSCRIBER || !phase.running) return;
    subscribers_open--;
    subscribers_at[connection->received % LEVELS]--;
    while (subscribers_open > 0 && subscribers_at[slowest % LEVELS] == 0) slowest++;
}

/* ---- sending ---- */

static const char *text(void) {
    static char *bytes;
    if (!bytes) {
        bytes = malloc((size_t)options.text_bytes);
        if (!bytes) exit(1);
        memset(bytes, 'm', (size_t)options.text_bytes);
    }
    return bytes;
}

/* Adds one message to what the connection sends at its next flush. */
static void put_message(struct connection *sender, uint64_t at_us) {
    size_t text_bytes = (size_t)options.text_bytes;
    char *out = connection_reserve(sender, dialect_room(text_bytes));
    uint64_t id = ledger_add(at_us, sender->index - first_sender());
    size_t size = options.mode == MODE_PING
                      ? encode_ping(options.dialect, out)
                      : encode_send(options.dialect, out, sender->room, sender->user, id, text(), text_bytes);
    connection_commit(sender, size);
    sender->outstanding++;
    phase.sent++;
}

static bool may_send(void) { return !phase.stopping && (phase.limit == 0 || phase.sent < phase.limit); }

static struct connection *sender_at(uint64_t turn) {
    return &connections[(uint64_t)first_sender() + turn % (uint64_t)options.senders];
}

static void pump_one(void) {
    if (!may_send() || !everyone_has_everything()) return;
    put_message(sender_at(0), now_us);
    connection_flush(sender_at(0));
}

static bool within_lag(void) {
    return options.lag == 0 || subscribers_open == 0 || phase.sent < slowest + (uint64_t)options.lag;
}

/* Senders take turns message by message, so that none has the whole lag for itself. */
static void pump_window(void) {
    bool more = true;
    while (more) {
        more = false;
        for (int i = 0; i < options.senders && may_send() && within_lag(); i++) {
            struct connection *sender = sender_at((uint64_t)i);
            if (sender->outstanding >= (uint64_t)options.window) continue;
            put_message(sender, now_us);
            more = true;
        }
    }
    for (int i = 0; i < options.senders; i++) connection_flush(sender_at((uint64_t)i));
}

/* Pings come at uneven times, so that they don't fall into step with the server's sweeps. */
static uint64_t interval_us(void) {
    if (options.mode == MODE_PACED) return (uint64_t)(1e6 / options.rate_per_s);
    return (uint64_t)(options.interval_ms * 1e3 * (0.5 + (double)(random() % 1000) / 1e3));
}

/* A paced message counts from the moment when it was due, however late the generator is: a queue that the
 * server causes must not hide its own delay. A ping counts from when it is really sent. */
static void pump_clocked(void) {
    while (may_send() && now_us >= phase.next_due_us) {
        struct connection *sender = sender_at(phase.sent);
        put_message(sender, options.mode == MODE_PING ? now_us : phase.next_due_us);
        connection_flush(sender);
        phase.next_due_us += interval_us();
    }
}

/* Everyone joins at once, and waits for what was said meanwhile: so many messages as the phase is limited to. */
static void pump_return(void) {
    if (phase.sent > 0) return;
    phase.sent = phase.acked = phase.limit;
    phase.stopping = true;
    phase.stopped_us = now_us;
    for (int i = 0; i < connection_count; i++) {
        char *out = connection_reserve(&connections[i], dialect_room(0));
        connection_commit(&connections[i], encode_return(options.dialect, out, connections[i].room, options.after));
        connection_flush(&connections[i]);
    }
}

/* The same with connections that are opened in this phase. */
static void pump_herd(void) {
    phase.sent = phase.acked = phase.limit;
    phase_stop();
}

/* ---- the phase's course ---- */

void phase_start(uint64_t messages) {
    memset(&phase, 0, sizeof phase);
    histogram_reset(&phase.delays);
    progress_reset();
    clock_read();
    phase.running = true;
    phase.limit = messages ? messages : options.messages;
    phase.first_id = ledger_next_id();
    ledger_catch_up();
    phase.started_us = phase.next_due_us = now_us;
}

void phase_stop(void) {
    if (!phase.running || phase.stopping) return;
    phase.stopping = true;
    phase.stopped_us = now_us;
}

static void print_result(void) {
    static const char *const modes[] = {"one", "window", "paced", "ping", "idle", "return", "herd"};
    uint64_t expected = options.mode == MODE_PING ? phase.sent : phase.sent * (uint64_t)options.subscribers;
    uint64_t arrived = options.mode == MODE_PING ? phase.acked : phase.deliveries;
    if (senders_are_alone()) {
        expected = phase.sent;
        arrived = phase.sender_deliveries;
    }
    uint64_t missing = expected > arrived ? expected - arrived : 0;
    const struct histogram *delays = &phase.delays;
    printf("{\"mode\": \"%s\", \"dialect\": \"%s\", \"subscribers\": %d, \"senders\": %d, ", modes[options.mode],
           dialect_names[options.dialect], options.subscribers, options.senders);
#define NUMBER(name, value) printf("\"" name "\": %llu, ", (unsigned long long)(value))
    NUMBER("sent", phase.sent);
    NUMBER("acked", phase.acked);
    NUMBER("deliveries", phase.deliveries);
    NUMBER("sender_deliveries", phase.sender_deliveries);
    NUMBER("bytes", phase.bytes);
    NUMBER("missing", missing);
    NUMBER("lagged", phase.lagged);
    NUMBER("out_of_order", phase.out_of_order);
    NUMBER("errors", phase.errors);
    NUMBER("closed", phase.closed);
#undef NUMBER
    printf("\"elapsed_s\": %.6f, \"delays_us\": {\"count\": %llu, \"p50\": %llu, \"p99\": %llu, \"p999\": %llu, "
           "\"max\": %llu}}\n",
           (double)(phase.ended_us - phase.started_us) / 1e6, (unsigned long long)delays->count,
           (unsigned long long)histogram_quantile(delays, 0.5),
           (unsigned long long)histogram_quantile(delays, 0.99),
           (unsigned long long)histogram_quantile(delays, 0.999), (unsigned long long)delays->max_us);
    fflush(stdout);
}

/* A herd is whole when all have come, and caught up when they have what they missed. */
static bool all_is_done(void) {
    return (options.mode != MODE_HERD || connections_open()) && everyone_has_everything();
}

static bool phase_over(void) {
    if (phase.limit > 0 && phase.sent >= phase.limit) phase_stop();
    if (now_us - phase.started_us >= (uint64_t)(options.seconds * 1e6) || phase.broken) phase_stop();
    if (!phase.stopping) return false;
    if (phase.broken || all_is_done()) return true;
    return now_us - phase.stopped_us >= (uint64_t)(options.grace_s * 1e6);
}

bool phase_pump(void) {
    if (!phase.running) return false;
    clock_read();
    if (phase_over()) {
        phase.ended_us = now_us;
        phase.running = false;
        print_result();
        return false;
    }
    if (options.mode == MODE_RETURN) pump_return();
    if (options.mode == MODE_HERD) pump_herd();
    if (options.mode == MODE_ONE) pump_one();
    if (options.mode == MODE_WINDOW) pump_window();
    if (options.mode == MODE_PACED || options.mode == MODE_PING) pump_clocked();
    return true;
}

uint64_t phase_due_us(void) {
    bool clocked = options.mode == MODE_PACED || options.mode == MODE_PING;
    return phase.running && !phase.stopping && clocked ? phase.next_due_us : 0;
}

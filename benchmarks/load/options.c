#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echo.h"

struct options options = {
    .mode = MODE_ONE,
    .dialect = DIALECT_LINE,
    .subscribers = 1000,
    .senders = 1,
    .rooms = 1,
    .joins = 1,
    .room = "bench",
    .prefix = "u",
    .text_bytes = 64,
    .window = 64,
    .rate_per_s = 100,
    .interval_ms = 20,
    .seconds = 3,
    .grace_s = 10,
    .verify = 100,
};

static const char usage[] =
    "usage: load --port N [options]\n"
    "  --mode one|window|paced|ping|idle|return|herd\n"
    "  --dialect line|ws|floor|nats|amqp|echo-line|echo-ws|nats-core|mqtt|irc\n"
    "  --subscribers N --senders N --stuck N --stagger N --rooms N --joins N --room NAME --prefix NAME\n"
    "  --text-bytes N --window N --lag N --rate PER_S --interval-ms MS\n"
    "  --seconds S --grace S --messages N --verify N --connecting N --acks 0|1 --after SEQ --receive 0|1\n"
    "Prints \"ready\" on stderr when all have joined. Each line \"go [MESSAGES]\" on stdin runs one phase, whose\n"
    "result is one JSON line on stdout; another line ends a running phase early. End of input ends the program.\n";

static void fail(void) {
    fputs(usage, stderr);
    exit(2);
}

static int choose(const char *value, const char *const *names) {
    for (int i = 0; names[i]; i++) {
        if (strcmp(value, names[i]) == 0) return i;
    }
    fail();
    return 0;
}

static int *int_option(const char *name) {
    const struct {
        const char *name;
        int *value;
    } table[] = {
        {"--port", &options.port},         {"--subscribers", &options.subscribers},
        {"--senders", &options.senders},   {"--stuck", &options.stuck},
        {"--stagger", &options.stagger},   {"--joins", &options.joins},
        {"--rooms", &options.rooms},       {"--text-bytes", &options.text_bytes},
        {"--window", &options.window},     {"--lag", &options.lag},
        {"--verify", &options.verify},     {"--connecting", &options.connecting},
        {"--acks", &options.acks},
        {"--after", &options.after},         {"--receive", &options.receive},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(name, table[i].name) == 0) return table[i].value;
    }
    return NULL;
}

static double *double_option(const char *name) {
    if (strcmp(name, "--rate") == 0) return &options.rate_per_s;
    if (strcmp(name, "--interval-ms") == 0) return &options.interval_ms;
    if (strcmp(name, "--seconds") == 0) return &options.seconds;
    if (strcmp(name, "--grace") == 0) return &options.grace_s;
    return NULL;
}

static void parse_option(const char *name, const char *value) {
    static const char *const modes[] = {"one", "window", "paced", "ping", "idle", "return", "herd", NULL};
    if (strcmp(name, "--mode") == 0) {
        options.mode = (enum mode)choose(value, modes);
    } else if (strcmp(name, "--dialect") == 0) {
        options.dialect = (enum dialect)choose(value, dialect_names);
    } else if (strcmp(name, "--room") == 0) {
        options.room = value;
    } else if (strcmp(name, "--prefix") == 0) {
        options.prefix = value;
    } else if (strcmp(name, "--messages") == 0) {
        options.messages = strtoull(value, NULL, 10);
    } else if (int_option(name)) {
        *int_option(name) = atoi(value);
    } else if (double_option(name)) {
        *double_option(name) = atof(value);
    } else {
        fail();
    }
}

/* Some numbers follow from the mode. */
static void settle(void) {
    if (options.mode == MODE_PING) {
        options.subscribers = options.stuck = 0;
        options.senders = 1;
    } else if (options.mode == MODE_IDLE || options.mode == MODE_RETURN ||
               options.mode == MODE_HERD) {
        options.senders = options.stuck = 0;
    } else if (options.mode == MODE_ONE) {
        options.senders = 1;
    }
    /* An IRC server welcomes once a second who has come meanwhile; others answer at once. */
    if (options.connecting == 0) options.connecting = options.dialect == DIALECT_IRC ? 2000 : 64;
    bool counts = options.subscribers >= 0 && options.senders >= 0 && options.stuck >= 0 && options.rooms >= 1 &&
                  options.joins >= 1 && options.joins <= 1000;
    bool sizes = options.text_bytes > 0 && options.text_bytes <= 60000 && options.window > 0;
    bool names = strlen(options.room) <= 64 && strlen(options.prefix) <= 16;
    if (options.port <= 0 || options.connecting < 1 || !counts || !sizes || !names) fail();
    bool fastchat = options.dialect == DIALECT_LINE || options.dialect == DIALECT_WS;
    if (!fastchat && (options.mode == MODE_PING || options.mode == MODE_RETURN)) fail();
    if (dialect_copies(options.dialect) && options.text_bytes < COPY_ID_BYTES) fail();
    /* Brokers' messages have neither seq nor id. */
    bool broker = options.dialect == DIALECT_NATS || options.dialect == DIALECT_AMQP;
    if (broker) options.verify = 0;
    if (broker && (options.stuck > 0 || options.window > 64)) fail();
    if (broker && options.subscribers > 0 && !options.receive) fail();
}

void options_parse(int argc, char **argv) {
    if (argc % 2 == 0) fail();
    for (int i = 1; i < argc; i += 2) parse_option(argv[i], argv[i + 1]);
    settle();
}

/* The load generator: many connections from one thread. See options.c for how it is used. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "connection.h"
#include "ledger.h"
#include "options.h"
#include "phase.h"

enum { ROUND_EVENTS = 512, TICK_MS = 20 /* how late a phase may notice that its time is over */ };

static int epoll_fd, timer_fd;

/* Reads what stdin has; false at its end. A line starts a phase, or ends the one that is running. */
static bool read_command(bool *running) {
    char line[256];
    ssize_t got = read(STDIN_FILENO, line, sizeof line - 1);
    if (got <= 0) return false;
    line[got] = '\0';
    if (*running) {
        phase_stop();
    } else if (strncmp(line, "go", 2) == 0) {
        phase_start(strtoull(line + 2, NULL, 10));
        *running = true;
    }
    return true;
}

/* epoll's own timeout counts whole milliseconds, too coarse for paced messages. */
static void arm_timer(void) {
    uint64_t due_us = phase_due_us();
    if (due_us == 0) return;
    struct itimerspec due = {.it_value = {(time_t)(due_us / 1000000), (long)(due_us % 1000000) * 1000}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &due, NULL);
}

static void drain_timer(void) {
    uint64_t expirations;
    if (read(timer_fd, &expirations, sizeof expirations) < 0) return; /* armed anew meanwhile */
}

/* Serves one round of epoll; false when stdin has ended. */
static bool serve_round(bool *running) {
    struct epoll_event events[ROUND_EVENTS];
    int count = epoll_wait(epoll_fd, events, ROUND_EVENTS, TICK_MS);
    bool open = true;
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == &epoll_fd) {
            open = read_command(running);
        } else if (events[i].data.ptr == &timer_fd) {
            drain_timer();
        } else {
            connection_serve(events[i].data.ptr, events[i].events);
        }
    }
    return open;
}

static void add(int fd, void *mark) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = mark};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return;
    perror("epoll_ctl (stdin has to be a pipe or a terminal)");
    exit(1);
}

int main(int argc, char **argv) {
    options_parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    connections_prepare(epoll_fd);
    ledger_prepare(dialect_copies(options.dialect) ? connection_count : 0, options.senders);
    add(timer_fd, &timer_fd);
    bool running = false;
    while (options.mode != MODE_HERD && !connections_open()) serve_round(&running);
    add(STDIN_FILENO, &epoll_fd);
    fprintf(stderr, "ready\n");
    while (serve_round(&running)) {
        running = phase_pump();
        arm_timer();
    }
    return 0;
}

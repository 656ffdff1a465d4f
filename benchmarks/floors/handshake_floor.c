/* Floor 3: accepts WebSocket connections (RFC 6455, section 4.2) and keeps them. What the opening of a connection
 * costs a server that does nothing else: accept4, one recv, SHA-1, base64, one send.
 *
 * The whole request is expected in one read, and nothing is checked of it but the key: a floor is not to be told
 * to be slow. What comes behind it is read and thrown away. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 65536, ROUND_EVENTS = 512, READ_BYTES = 65536, KEY_BYTES = 24, DIGEST_BYTES = 20 };

static const char key_suffix[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
static bool open_already[MAX_CONNECTIONS];
static int epoll_fd;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint32_t turn(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

static void sha1_block(uint32_t state[5], const unsigned char *block) {
    static const uint32_t constants[4] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
    uint32_t words[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++)
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        words[i] = turn(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t mixed = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        uint32_t next = turn(a, 5) + mixed + e + constants[i / 20] + words[i];
        e = d, d = c, c = turn(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* Of key and suffix, which are 60 bytes: with the padding two blocks. */
static void sha1(const char *key, unsigned char digest[DIGEST_BYTES]) {
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char padded[128] = {0};
    size_t size = KEY_BYTES + sizeof key_suffix - 1;
    memcpy(padded, key, KEY_BYTES);
    memcpy(padded + KEY_BYTES, key_suffix, sizeof key_suffix - 1);
    padded[size] = 0x80;
    padded[126] = (unsigned char)(size * 8 >> 8);
    padded[127] = (unsigned char)(size * 8);
    sha1_block(state, padded);
    sha1_block(state, padded + 64);
    for (int i = 0; i < DIGEST_BYTES; i++) digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

/* 20 bytes become 27 characters and a "=". */
static char *base64(char *out, const unsigned char digest[DIGEST_BYTES]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < DIGEST_BYTES; i += 3) {
        uint32_t three = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8;
        if (i + 2 < DIGEST_BYTES) three |= digest[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) *out++ = letters[three >> shift & 63];
    }
    out[-1] = '=';
    return out;
}

static void accept_connections(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (fd >= MAX_CONNECTIONS || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) fail("connections");
        open_already[fd] = false;
    }
    if (errno != EAGAIN) fail("accept4");
}

static bool answer(int fd, const char *head) {
    static const char field[] = "\r\nSec-WebSocket-Key: ";
    char response[256] = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
                         "sec-websocket-accept: ";
    unsigned char digest[DIGEST_BYTES];
    const char *key = strcasestr(head, field);
    if (!key || strlen(key) < sizeof field - 1 + KEY_BYTES || !strstr(key, "\r\n\r\n")) return false;
    sha1(key + sizeof field - 1, digest);
    char *end = base64(response + strlen(response), digest);
    memcpy(end, "\r\n\r\n", 4);
    open_already[fd] = send(fd, response, (size_t)(end + 4 - response), MSG_NOSIGNAL) > 0;
    return open_already[fd];
}

static void serve_connection(int fd) {
    static char buffer[READ_BYTES + 1];
    ssize_t got = recv(fd, buffer, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got > 0) buffer[got] = '\0';
    if (got <= 0 || (!open_already[fd] && !answer(fd, buffer))) close(fd);
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[ROUND_EVENTS];
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 4096) != 0) fail("listen");
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) != 0) fail("epoll_ctl");
    getsockname(listener, (struct sockaddr *)&address, &size);
    int port = ntohs(address.sin_port);
    printf("{\"line\": \"127.0.0.1:%d\", \"http\": \"127.0.0.1:%d\", \"pid\": %d}\n", port, port, getpid());
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, ROUND_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener) {
                accept_connections(listener);
            } else {
                serve_connection(events[i].data.fd);
            }
        }
    }
}

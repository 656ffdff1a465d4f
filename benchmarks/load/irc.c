#define _GNU_SOURCE
#include "irc.h"

#include <stdio.h>
#include <string.h>

#include "echo.h"

enum { MAX_LINE_BYTES = 8 << 10 };

static const struct {
    const char *command;
    enum kind kind;
} kinds[] = {
    {"PRIVMSG ", KIND_MESSAGE}, {"PONG ", KIND_SENT},   {"PING ", KIND_PING},
    {"001 ", KIND_WELCOME},     {"366 ", KIND_JOINED}, {"ERROR ", KIND_ERROR},
    {"422 ", KIND_OTHER}, /* there is no message of the day */
};

static bool starts_with(const char *at, const char *end, const char *start) {
    size_t size = strlen(start);
    return (size_t)(end - at) >= size && memcmp(at, start, size) == 0;
}

static enum kind kind_of(const char *command, const char *end) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (starts_with(command, end, kinds[i].command)) return kinds[i].kind;
    }
    bool numeric = end - command > 3 && command[3] == ' ';
    return numeric && (*command == '4' || *command == '5') ? KIND_ERROR : KIND_OTHER;
}

/* ":prefix COMMAND parameters :last one". What the last parameter is, is the document; of an error, all. */
static void parse(const char *line, const char *end, struct document *document) {
    const char *command = line;
    if (line < end && *line == ':') {
        const char *space = memchr(line, ' ', (size_t)(end - line));
        command = space ? space + 1 : end;
    }
    document->kind = kind_of(command, end);
    document->bytes = line;
    if (document->kind != KIND_ERROR) {
        const char *last = memmem(command, (size_t)(end - command), " :", 2);
        const char *word = memrchr(command, ' ', (size_t)(end - command));
        document->bytes = last ? last + 2 : word ? word + 1 : end;
    }
    document->length = (size_t)(end - document->bytes);
}

bool irc_next(struct input *input, struct document *document) {
    size_t left = (size_t)(input->end - input->at);
    const char *newline = memchr(input->at, '\n', left);
    if (!newline) {
        input->broken = left > MAX_LINE_BYTES;
        return false;
    }
    bool returns = newline > input->at && newline[-1] == '\r';
    parse(input->at, newline - returns, document);
    input->at = newline + 1;
    return true;
}

size_t irc_encode_hello(char *out, const char *user) {
    return (size_t)sprintf(out, "NICK %s\r\nUSER %s 0 * :%s\r\n", user, user, user);
}

size_t irc_encode_join(char *out, const char *room) { return (size_t)sprintf(out, "JOIN #%s\r\n", room); }

size_t irc_encode_send(char *out, const char *room, uint64_t id, const char *text, size_t text_bytes) {
    size_t length = (size_t)sprintf(out, "PRIVMSG #%s :", room);
    length += encode_copy(out + length, id, text, text_bytes);
    return length + (size_t)sprintf(out + length, "\r\nPING :x%09llu\r\n", (unsigned long long)id);
}

size_t irc_encode_pong(char *out, const char *token, size_t length) {
    return (size_t)sprintf(out, "PONG :%.*s\r\n", (int)length, token);
}

/* A sender and a receiver that speak just enough DICOM to measure others by (PS3.8 9.3, PS3.7 9.3.1).
 *
 * send HOST PORT CALLING CALLED ASSOCIATIONS INSTANCES PDU_BYTES FILE SOP_CLASS SYNTAX UID FIRST
 *   Sends the encoded data set in FILE, INSTANCES times over each of ASSOCIATIONS, under a new SOP Instance
 *   UID each time: the last nine digits of UID, wherever it stands, count from FIRST.
 *   Prints: seconds, answers of success, answers of another kind, then one latency in microseconds a line.
 * receive FOLDER null|plain|fsync
 *   Prints the port, then takes every association and class, and for each instance writes a file of its own,
 *   synchronised before the answer (fsync), not synchronised (plain), or none (null).
 *
 * Only for scripts/bench-ingest: it trusts what it reads. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PDU_MAX (1 << 20)
#define INSTANCE_MAX (256u << 20)
#define DIGITS 9

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void put16(uint8_t *p, unsigned v) { p[0] = v >> 8, p[1] = v; }
static void put32(uint8_t *p, unsigned v) { put16(p, v >> 16), put16(p + 2, v & 0xffff); }
static unsigned get16(const uint8_t *p) { return p[0] << 8 | p[1]; }
static unsigned get32(const uint8_t *p) { return (unsigned)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
static void le32(uint8_t *p, unsigned v) { p[0] = v, p[1] = v >> 8, p[2] = v >> 16, p[3] = v >> 24; }

static int read_all(int fd, uint8_t *to, size_t count) {
    while (count) {
        ssize_t got = read(fd, to, count);
        if (got <= 0) {
            if (got < 0 && errno == EINTR) continue;
            return -1;
        }
        to += got, count -= got;
    }
    return 0;
}

static void write_all(int fd, const uint8_t *from, size_t count) {
    while (count) {
        ssize_t put = write(fd, from, count);
        if (put < 0) {
            if (errno == EINTR) continue;
            die("write");
        }
        from += put, count -= put;
    }
}

static void quick(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* One item of an A-ASSOCIATE PDU. */
static uint8_t *item(uint8_t *p, int type, const void *value, unsigned length) {
    p[0] = type, p[1] = 0;
    put16(p + 2, length);
    memcpy(p + 4, value, length);
    return p + 4 + length;
}

/* One element of a command set. */
static uint8_t *element(uint8_t *p, unsigned number, const void *value, unsigned length) {
    memset(p, 0, 8);
    p[2] = number, p[3] = number >> 8;
    le32(p + 4, length + length % 2);
    memcpy(p + 8, value, length);
    if (length % 2) p[8 + length] = 0;
    return p + 8 + length + length % 2;
}

static uint8_t *user(uint8_t *p, unsigned pdu_bytes) {
    uint8_t inner[64], longest[4];
    put32(longest, pdu_bytes);
    uint8_t *q = item(inner, 0x51, longest, 4);
    q = item(q, 0x52, "2.25.1", 6);
    return item(p, 0x50, inner, q - inner);
}

/* Put a command set into a P-DATA PDU; return its length. */
static size_t command_pdu(uint8_t *pdu, int context, const uint8_t *body, size_t length) {
    size_t whole = length + 12;
    pdu[0] = 4, pdu[1] = 0;
    put32(pdu + 2, whole + 6);
    put32(pdu + 6, whole + 2);
    pdu[10] = context, pdu[11] = 3;
    uint8_t group[4];
    le32(group, length);
    element(pdu + 12, 0, group, 4);
    memcpy(pdu + 24, body, length);
    return 24 + length;
}

/* ---- the sender ---- */

struct sender {
    pthread_t thread;
    const char *host, *calling, *called, *sop_class, *syntax, *uid;
    int port, instances, pdu_bytes;
    uint8_t *data;
    size_t length;
    long first;
    double *latencies;
    int good, bad;
};

static int call(struct sender *s, int *longest) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(s->port)};
    inet_pton(AF_INET, s->host, &to.sin_addr);
    if (connect(fd, (void *)&to, sizeof to)) die("connect");
    quick(fd);
    static __thread uint8_t pdu[PDU_MAX];
    memset(pdu, 0, 74);
    pdu[0] = 1, pdu[7] = 1;
    memset(pdu + 10, ' ', 32);
    memcpy(pdu + 10, s->called, strlen(s->called));
    memcpy(pdu + 26, s->calling, strlen(s->calling));
    uint8_t *p = item(pdu + 74, 0x10, "1.2.840.10008.3.1.1.1", 21);
    uint8_t context[256] = {1, 0, 0, 0};
    uint8_t *q = item(context + 4, 0x30, s->sop_class, strlen(s->sop_class));
    q = item(q, 0x40, s->syntax, strlen(s->syntax));
    p = item(p, 0x20, context, q - context);
    p = user(p, 1 << 16);
    put32(pdu + 2, p - pdu - 6);
    write_all(fd, pdu, p - pdu);
    if (read_all(fd, pdu, 6) || read_all(fd, pdu + 6, get32(pdu + 2))) die("association");
    if (pdu[0] != 2) fprintf(stderr, "not accepted: %d\n", pdu[0]), exit(1);
    *longest = 16384;
    for (uint8_t *i = pdu + 74, *end = pdu + 6 + get32(pdu + 2); i < end; i += 4 + get16(i + 2)) {
        if (i[0] == 0x21 && i[6]) fprintf(stderr, "context refused: %d\n", i[6]), exit(1);
        if (i[0] == 0x50)
            for (uint8_t *j = i + 4; j < i + 4 + get16(i + 2); j += 4 + get16(j + 2))
                if (j[0] == 0x51) *longest = get32(j + 4);
    }
    if (!*longest || *longest > s->pdu_bytes) *longest = s->pdu_bytes;
    return fd;
}

static void *send_thread(void *argument) {
    struct sender *s = argument;
    int longest, fd = call(s, &longest);
    size_t piece = longest - 6, pieces = (s->length + piece - 1) / piece;
    uint8_t *wire = malloc(s->length + 12 * pieces + 4096), *end = wire, command[512];
    size_t uid_length = strlen(s->uid);
    uint8_t *c = element(command, 0x0002, s->sop_class, strlen(s->sop_class));
    c = element(c, 0x0100, "\1\0", 2);
    uint8_t *message = c + 8;
    c = element(c, 0x0110, "\1\0", 2);
    c = element(c, 0x0700, "\0\0", 2);
    c = element(c, 0x0800, "\0\0", 2);
    c = element(c, 0x1000, s->uid, uid_length);
    (void)message;
    end += command_pdu(end, 1, command, c - command);
    for (size_t at = 0; at < s->length; at += piece) {
        size_t count = s->length - at < piece ? s->length - at : piece;
        end[0] = 4, end[1] = 0;
        put32(end + 2, count + 6);
        put32(end + 6, count + 2);
        end[10] = 1, end[11] = at + count == s->length ? 2 : 0;
        memcpy(end + 12, s->data + at, count);
        end += 12 + count;
    }
    uint8_t *places[8];
    int found = 0;
    for (uint8_t *p = wire; found < 8 && (p = memmem(p, end - p < 65536 ? end - p : 65536, s->uid, uid_length)); p++)
        places[found++] = p + uid_length - DIGITS;
    for (int i = 0; i < s->instances; i++) {
        char number[DIGITS + 1];
        snprintf(number, sizeof number, "%09ld", s->first + i);
        for (int j = 0; j < found; j++) memcpy(places[j], number, DIGITS);
        double began = now();
        write_all(fd, wire, end - wire);
        uint8_t answer[4096];
        if (read_all(fd, answer, 6) || get32(answer + 2) > sizeof answer - 6 ||
            read_all(fd, answer + 6, get32(answer + 2)))
            break;
        s->latencies[i] = now() - began;
        int status = -1;
        for (uint8_t *p = answer + 12; p < answer + 6 + get32(answer + 2); p += 8 + (p[4] | p[5] << 8))
            if (p[2] == 0 && p[3] == 9) status = p[8] | p[9] << 8;
        if (status == 0) s->good++;
        else s->bad++;
    }
    static const uint8_t release[10] = {5, 0, 0, 0, 0, 4};
    if (write(fd, release, 10) == 10) {
        uint8_t reply[10];
        read_all(fd, reply, 10);
    }
    close(fd);
    return NULL;
}

static int send_main(char **argument) {
    int associations = atoi(argument[4]), instances = atoi(argument[5]);
    struct sender *all = calloc(associations, sizeof *all);
    int fd = open(argument[7], O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) die("data set");
    uint8_t *data = malloc(st.st_size);
    if (read_all(fd, data, st.st_size)) die("data set");
    double began = now();
    for (int i = 0; i < associations; i++) {
        all[i] = (struct sender){
            .host = argument[0], .port = atoi(argument[1]), .calling = argument[2], .called = argument[3],
            .instances = instances, .pdu_bytes = atoi(argument[6]), .data = data, .length = st.st_size,
            .sop_class = argument[8], .syntax = argument[9], .uid = argument[10],
            .first = atol(argument[11]) + (long)i * instances, .latencies = calloc(instances, sizeof(double)),
        };
        pthread_create(&all[i].thread, NULL, send_thread, &all[i]);
    }
    int good = 0, bad = 0;
    for (int i = 0; i < associations; i++) {
        pthread_join(all[i].thread, NULL);
        good += all[i].good, bad += all[i].bad;
    }
    printf("%.6f %d %d\n", now() - began, good, bad);
    for (int i = 0; i < associations; i++)
        for (int j = 0; j < all[i].good + all[i].bad; j++) printf("%.1f\n", all[i].latencies[j] * 1e6);
    return 0;
}

/* ---- the receiver ---- */

static const char *folder;
static enum { NONE, PLAIN, FSYNC } durability;

static void keep(const uint8_t *data, size_t length, const char *name) {
    if (durability == NONE) return;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) die("create");
    write_all(fd, data, length);
    if (durability == FSYNC && fsync(fd)) die("fsync");
    close(fd);
}

static void accept_association(int fd, uint8_t *pdu, size_t length) {
    static __thread uint8_t answer[PDU_MAX];
    memcpy(answer, pdu, 74);
    answer[0] = 2;
    uint8_t *to = item(answer + 74, 0x10, "1.2.840.10008.3.1.1.1", 21);
    for (uint8_t *i = pdu + 74; i < pdu + 6 + length; i += 4 + get16(i + 2)) {
        if (i[0] != 0x20) continue;
        uint8_t context[256] = {i[4], 0, 0, 0};
        uint8_t *syntax = i + 8;
        while (syntax[0] != 0x40) syntax += 4 + get16(syntax + 2);
        uint8_t *end = item(context + 4, 0x40, syntax + 4, get16(syntax + 2));
        to = item(to, 0x21, context, end - context);
    }
    to = user(to, 128 << 10);
    put32(answer + 2, to - answer - 6);
    write_all(fd, answer, to - answer);
}

static void *serve(void *argument) {
    int fd = (int)(intptr_t)argument;
    quick(fd);
    uint8_t *pdu = malloc(PDU_MAX + 6), *data = malloc(INSTANCE_MAX), body[512], answer[1024];
    size_t filled = 0;
    char name[80] = "";
    uint8_t sop_class[80], instance[80], message[2] = {0};
    unsigned class_length = 0, instance_length = 0;
    while (!read_all(fd, pdu, 6)) {
        size_t length = get32(pdu + 2);
        if (length > PDU_MAX || read_all(fd, pdu + 6, length)) break;
        if (pdu[0] == 1) accept_association(fd, pdu, length);
        else if (pdu[0] == 5) {
            static const uint8_t released[10] = {6, 0, 0, 0, 0, 4};
            write_all(fd, released, 10);
        } else if (pdu[0] != 4) break;
        for (uint8_t *i = pdu + 6; pdu[0] == 4 && i < pdu + 6 + length; i += 4 + get32(i)) {
            unsigned count = get32(i) - 2;
            if (i[5] & 1) {
                for (uint8_t *e = i + 6; e < i + 6 + count; e += 8 + (e[4] | e[5] << 8)) {
                    unsigned number = e[2] | e[3] << 8, size = e[4] | e[5] << 8;
                    if (number == 0x0002 && size < 80) memcpy(sop_class, e + 8, class_length = size);
                    if (number == 0x0110) memcpy(message, e + 8, 2);
                    if (number == 0x1000 && size < 80) {
                        memcpy(instance, e + 8, instance_length = size);
                        snprintf(name, sizeof name, "%.*s", (int)size, instance);
                    }
                }
                filled = 0;
                continue;
            }
            if (filled + count > INSTANCE_MAX) exit(1);
            memcpy(data + filled, i + 6, count);
            filled += count;
            if (!(i[5] & 2)) continue;
            keep(data, filled, name);
            uint8_t *c = element(body, 0x0002, sop_class, class_length);
            c = element(c, 0x0100, "\1\200", 2);
            c = element(c, 0x0120, message, 2);
            c = element(c, 0x0800, "\1\1", 2);
            c = element(c, 0x0900, "\0\0", 2);
            c = element(c, 0x1000, instance, instance_length);
            write_all(fd, answer, command_pdu(answer, i[4], body, c - body));
        }
    }
    close(fd);
    free(pdu), free(data);
    return NULL;
}

static _Noreturn void receive_main(char **argument) {
    folder = argument[0];
    durability = !strcmp(argument[1], "null") ? NONE : !strcmp(argument[1], "plain") ? PLAIN : FSYNC;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    if (bind(fd, (void *)&at, sizeof at) || listen(fd, 64) || getsockname(fd, (void *)&at, &size)) die("listen");
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        int connection = accept(fd, NULL, NULL);
        if (connection < 0) continue;
        pthread_t thread;
        pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection);
        pthread_detach(thread);
    }
}

int main(int count, char **argument) {
    if (count == 14 && !strcmp(argument[1], "send")) return send_main(argument + 2);
    if (count == 4 && !strcmp(argument[1], "receive")) receive_main(argument + 2);
    fprintf(stderr, "see the head of bench_wire.c\n");
    return 2;
}

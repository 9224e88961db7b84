/* An escrow client, written from the description of the wire protocol and nothing else.
 *
 * usage: escrow_client SOCKET TAG
 *
 * Deposits payloads of 0, 1, 32767 and 32768 bytes, each with and without a descriptor, gets
 * each back, counts the tag, and deletes what it deposited. Each answer is read with a single
 * recvmsg of 32784 bytes. Says what failed and exits with 1, or says nothing and exits with 0.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEL, ADD, DEL, REP, TAG, INF, GET };
enum { MAX_PAYLOAD = 32768, MAX_ANSWER = 32784 };

struct add { int16_t op, tag; int32_t index, ufd, nob; };
struct slot { int16_t op, tag; int32_t index; };
struct tag { int16_t op, tag; };
struct inf { int16_t op, zero; int32_t nr, total; };
struct rep { int16_t op, rc, nob; };

static int sock;
static char answer[MAX_ANSWER];
static size_t answer_size;
static int answer_fd;

static void fail(const char *what, long detail)
{
    fprintf(stderr, "escrow_client: %s (%ld)\n", what, detail);
    exit(1);
}

static void send_message(const void *head, size_t head_size, const void *payload, size_t size, int fd)
{
    struct iovec parts[2] = {
        { .iov_base = (void *)head, .iov_len = head_size },
        { .iov_base = (void *)payload, .iov_len = size },
    };
    union { struct cmsghdr align; char room[CMSG_SPACE(sizeof fd)]; } control;
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = size ? 2 : 1 };
    if (fd >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    ssize_t sent = sendmsg(sock, &message, 0);
    if (sent != (ssize_t)(head_size + size))
        fail("sendmsg", sent < 0 ? errno : sent);
}

static void receive_answer(void)
{
    struct iovec part = { .iov_base = answer, .iov_len = sizeof answer };
    union { struct cmsghdr align; char room[CMSG_SPACE(sizeof(int))]; } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1,
        .msg_control = control.room, .msg_controllen = sizeof control.room,
    };
    ssize_t size = recvmsg(sock, &message, 0);
    if (size <= 0)
        fail("recvmsg", size < 0 ? errno : 0);
    if (message.msg_flags & MSG_CTRUNC)
        fail("more than one descriptor came", 0);
    answer_size = size;
    answer_fd = -1;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights && rights->cmsg_type == SCM_RIGHTS)
        memcpy(&answer_fd, CMSG_DATA(rights), sizeof answer_fd);
}

static int16_t receive_reply(void)
{
    struct rep rep;
    receive_answer();
    if (answer_size < sizeof rep)
        fail("an answer too short for REP", answer_size);
    memcpy(&rep, answer, sizeof rep);
    if (rep.op != REP)
        fail("not a REP but", rep.op);
    if (rep.nob < 1 || rep.nob > 1024 || answer_size != sizeof rep + (size_t)rep.nob)
        fail("the size of a REP", answer_size);
    if (answer[answer_size - 1] != 0)
        fail("a text without its NUL", answer_size);
    return rep.rc;
}

static void expect(const char *what, int16_t rc, int16_t expected)
{
    if (rc != expected)
        fail(what, rc);
}

static void do_add(int16_t tag, int32_t index, const char *payload, int32_t size, int fd)
{
    struct add add = { ADD, tag, index, fd, size };
    send_message(&add, sizeof add, payload, size, fd);
    expect("ADD", receive_reply(), 0);
}

static void do_get(int16_t tag, int32_t index, const char *payload, int32_t size, int fd)
{
    struct slot get = { GET, tag, index };
    struct add add;
    send_message(&get, sizeof get, NULL, 0, -1);
    receive_answer();
    if (answer_size != sizeof add + (size_t)size)
        fail("the size of the answer to GET", answer_size);
    memcpy(&add, answer, sizeof add);
    if (add.op != ADD || add.tag != tag || add.index != index || add.nob != size)
        fail("the head of the answer to GET", add.op);
    if (add.ufd != fd)
        fail("ufd was not given back unchanged", add.ufd);
    if (memcmp(answer + sizeof add, payload, size) != 0)
        fail("the payload", size);
    if ((fd >= 0) != (answer_fd >= 0))
        fail("the descriptor", answer_fd);
    if (fd >= 0) {
        struct stat ours, theirs;
        if (fstat(fd, &ours) || fstat(answer_fd, &theirs))
            fail("fstat", errno);
        if (ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino)
            fail("another file came back", answer_fd);
        close(answer_fd);
    }
}

static void do_del(int16_t tag, int32_t index, int16_t expected)
{
    struct slot del = { DEL, tag, index };
    send_message(&del, sizeof del, NULL, 0, -1);
    expect("DEL", receive_reply(), expected);
}

static void do_tag(int16_t tag, int32_t nr, int32_t total)
{
    struct tag ask = { TAG, tag };
    struct inf inf;
    send_message(&ask, sizeof ask, NULL, 0, -1);
    receive_answer();
    if (answer_size != sizeof inf)
        fail("the size of INF", answer_size);
    memcpy(&inf, answer, sizeof inf);
    if (inf.op != INF)
        fail("not an INF but", inf.op);
    if (inf.nr != nr)
        fail("nr of INF", inf.nr);
    if (inf.total != total)
        fail("total of INF", inf.total);
}

static void connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path)
        fail("the path is too long", strlen(path));
    strcpy(address.sun_path, path);
    sock = socket(AF_UNIX, SOCK_STREAM, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect", errno);
}

int main(int argc, char **argv)
{
    static const int32_t sizes[] = { 0, 1, 32767, MAX_PAYLOAD };
    static char payload[MAX_PAYLOAD];
    if (argc != 3)
        fail("usage: escrow_client SOCKET TAG", argc);
    int16_t tag = atoi(argv[2]);
    int file = fileno(tmpfile());
    connect_to(argv[1]);
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)(i * 31 + 7);

    do_tag(tag, 0, 0);
    int32_t index = 0, total = 0;
    for (int with = 0; with < 2; with++) {
        for (int i = 0; i < 4; i++, index++) {
            do_add(tag, index, payload, sizes[i], with ? file : -1);
            do_get(tag, index, payload, sizes[i], with ? file : -1);
            total += sizes[i];
            do_tag(tag, index + 1, total);
        }
    }
    /* Again, all at rest: nothing has disturbed anything else. */
    for (index = 0; index < 8; index++)
        do_get(tag, index, payload, sizes[index % 4], index < 4 ? -1 : file);
    /* Onto an occupied slot: replaced at once. */
    do_add(tag, 7, payload, 1, -1);
    do_get(tag, 7, payload, 1, -1);
    for (index = 0; index < 8; index++)
        do_del(tag, index, 0);
    do_del(tag, 0, -ENOENT);
    do_tag(tag, 0, 0);
    return 0;
}

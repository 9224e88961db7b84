/* A program of the escrow interface, as the tests of libescrow lead it.
 *
 * usage: capi round SOCKET TAG      every request, with what has to come of it
 *        capi errors SOCKET TAG     what makes no sense, or is not there; tag TAG + 1 is refused
 *        capi init SOCKET FLAGS TAGS  says what escrow_init gives, and, if that is 0,
 *                                   what comes of an ADD, a GET and a DEL on tag 0
 *        capi turn SOCKET TAG       says "asking", asks how much the tag holds, says "has it", waits
 *                                   for the end of standard input, and ends
 *        capi steps SOCKET TAG      deposits, and then, for each line of standard input, gets what
 *                                   it deposited, and says what came of it
 *
 *        capi closed SOCKET TAG     closes the session's descriptor behind its back, and gives its number to
 *                                   a socket of its own, which has to stay as it is
 *        capi forked SOCKET TAG     uses the session in a child after fork(), which has to be told
 *
 * "-" is no SOCKET. Says what failed and exits with 1, or exits with 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "escrow.h"

enum { MOST = 32768 };

static void expect(const char *what, long expected, long found)
{
    if (expected == found)
        return;
    fprintf(stderr, "capi: %s: expected %ld, found %ld\n", what, expected, found);
    exit(1);
}

static const char *socket_named(const char *path)
{
    return strcmp(path, "-") ? path : NULL;
}

static struct escrow *begin(const char *path)
{
    struct escrow *escrow = NULL;
    expect("escrow_init", 0, escrow_init(socket_named(path), 0, 1, &escrow));
    expect("there is a handle", 1, escrow != NULL);
    return escrow;
}

static int same_file(int one, int other)
{
    struct stat a, b;
    if (fstat(one, &a) || fstat(other, &b))
        return 0;
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void fill(char *bytes, int size)
{
    for (int i = 0; i < size; i++)
        bytes[i] = (char)(i * 31 + size);
}

/* Gets a slot back, with exactly as much room as it takes. */
static void get_back(struct escrow *escrow, int tag, int idx, int size, int original)
{
    char *expected = malloc(size + 1), *data = malloc(size + 1);
    int32_t nob = size;
    int fd = 77;
    fill(expected, size);
    expect("escrow_get", 0, escrow_get(escrow, tag, idx, &fd, &nob, data));
    expect("size of the payload", size, nob);
    expect("payload", 0, memcmp(expected, data, size));
    expect("descriptor came", original >= 0, fd >= 0);
    if (original >= 0) {
        expect("the same file", 1, same_file(original, fd));
        expect("close-on-exec", FD_CLOEXEC, fcntl(fd, F_GETFD));
        expect("close", 0, close(fd));
    }
    free(expected);
    free(data);
}

static void once(struct escrow *escrow, int tag, int idx, int size, int fd)
{
    int32_t nr = -1, nob = -1;
    char *payload = malloc(size + 1);
    fill(payload, size);
    expect("escrow_add", 0, escrow_add(escrow, tag, idx, fd, size, payload));
    get_back(escrow, tag, idx, size, fd);
    expect("escrow_tag", 0, escrow_tag(escrow, tag, &nr, &nob));
    expect("largest used index plus one", idx + 1, nr);
    expect("sum of the payloads", size, nob);
    expect("escrow_del", 0, escrow_del(escrow, tag, idx));
    free(payload);
}

static void little_room(struct escrow *escrow, int tag)
{
    char data[8] = "........";
    int32_t nob = 3;
    int fd;
    expect("escrow_add", 0, escrow_add(escrow, tag, 0, -1, 5, "12345"));
    expect("escrow_get into little room", 0, escrow_get(escrow, tag, 0, &fd, &nob, data));
    expect("the whole size is told", 5, nob);
    expect("no more is stored than there is room", 0, memcmp(data, "123.....", 8));
    nob = 0;
    expect("escrow_get without room", 0, escrow_get(escrow, tag, 0, &fd, &nob, NULL));
    expect("the whole size is told", 5, nob);
    expect("a deposit is replaced", 0, escrow_add(escrow, tag, 0, 0, 0, NULL));
    nob = sizeof data;
    expect("escrow_get", 0, escrow_get(escrow, tag, 0, &fd, &nob, data));
    expect("no payload is left", 0, nob);
    expect("close", 0, close(fd));
    expect("escrow_del", 0, escrow_del(escrow, tag, 0));
}

struct share { struct escrow *escrow; int tag, idx; };

static void *in_thread(void *argument)
{
    struct share *share = argument;
    for (int i = 0; i < 20; i++) {
        expect("escrow_add", 0, escrow_add(share->escrow, share->tag, share->idx, -1, share->idx, "abcdefgh"));
        int32_t nob = 0;
        int fd;
        expect("escrow_get", 0, escrow_get(share->escrow, share->tag, share->idx, &fd, &nob, NULL));
        expect("each thread gets its own answer", share->idx, nob);
    }
    expect("escrow_del", 0, escrow_del(share->escrow, share->tag, share->idx));
    return NULL;
}

static void threads(struct escrow *escrow, int tag)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    struct share share[THREADS];
    for (int i = 0; i < THREADS; i++) {
        share[i] = (struct share){ escrow, tag, i };
        expect("pthread_create", 0, pthread_create(&thread[i], NULL, in_thread, &share[i]));
    }
    for (int i = 0; i < THREADS; i++)
        expect("pthread_join", 0, pthread_join(thread[i], NULL));
}

static int round_trips(const char *path, int tag)
{
    static const int sizes[] = { 0, 1, 32767, 32768 };
    struct escrow *escrow = begin(path);
    int file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 4; i++) {
        once(escrow, tag, i, sizes[i], file);
        once(escrow, tag, i, sizes[i], -1);
    }
    once(escrow, tag, 1000000, 5, file);
    little_room(escrow, tag);
    threads(escrow, tag);
    close(file);
    escrow_fini(escrow);
    return 0;
}

static int errors(const char *path, int tag)
{
    struct escrow *escrow = begin(path), *none = (void *)1;
    char *large = calloc(1, MOST + 1), here;
    int32_t nr, nob = 1;
    int fd = 77;
    expect("get of nothing", -ENOENT, escrow_get(escrow, tag, 7, &fd, &nob, &here));
    expect("fd is -1 then", -1, fd);
    expect("nob is left alone then", 1, nob);
    expect("del of nothing", -ENOENT, escrow_del(escrow, tag, 7));
    expect("a refused tag", -EACCES, escrow_tag(escrow, tag + 1, &nr, &nob));
    fd = 77;
    expect("a refused slot", -EACCES, escrow_get(escrow, tag + 1, 0, &fd, &nob, &here));
    expect("fd is -1 then", -1, fd);
    expect("a refused deposit", -EACCES, escrow_add(escrow, tag + 1, 0, 0, 0, NULL));
    expect("a negative tag", -EINVAL, escrow_tag(escrow, -1, &nr, &nob));
    expect("a negative index", -EINVAL, escrow_del(escrow, tag, -1));
    expect("a negative size", -EINVAL, escrow_add(escrow, tag, 0, -1, -1, &here));
    expect("a payload too large", -EINVAL, escrow_add(escrow, tag, 0, -1, MOST + 1, large));
    expect("a payload at NULL", -EINVAL, escrow_add(escrow, tag, 0, -1, 1, NULL));
    expect("a descriptor that is not open", -EBADF, escrow_add(escrow, tag, 0, 987, 0, NULL));
    expect("nr at NULL", -EINVAL, escrow_tag(escrow, tag, NULL, &nob));
    expect("nob at NULL", -EINVAL, escrow_tag(escrow, tag, &nr, NULL));
    expect("fd at NULL", -EINVAL, escrow_get(escrow, tag, 0, NULL, &nob, &here));
    expect("nob at NULL", -EINVAL, escrow_get(escrow, tag, 0, &fd, NULL, &here));
    expect("data at NULL", -EINVAL, escrow_get(escrow, tag, 0, &fd, &nob, NULL));
    nob = -1;
    expect("negative room", -EINVAL, escrow_get(escrow, tag, 0, &fd, &nob, &here));
    expect("no handle", -EINVAL, escrow_del(NULL, tag, 0));
    expect("nothing was deposited", 0, escrow_tag(escrow, tag, &nr, &nob));
    expect("nothing was deposited", 0, nr);
    memset(large, 'x', MOST);
    expect("a path too long", -EINVAL, escrow_init(large, ESCROW_FORCE, 1, &none));
    expect("the handle is NULL then", 1, none == NULL);
    expect("an empty path", -EINVAL, escrow_init("", 0, 1, &none));
    expect("no room for a handle", -EINVAL, escrow_init(path, 0, 1, NULL));
    expect("nobody there", -ENOENT, escrow_init("/nonexistent/usock", ESCROW_VERBOSE, 1, &none));
    escrow_fini(NULL);
    escrow_fini(escrow);
    free(large);
    return 0;
}

static int init(const char *path, int flags, int tags)
{
    struct escrow *escrow;
    struct pollfd watched = { .events = POLLIN };
    int ends[2], fd;
    int32_t nob = 0;
    /* As a program does that knows nothing of close-on-exec. */
    expect("pipe", 0, pipe(ends));
    int result = escrow_init(socket_named(path), flags, tags, &escrow);
    close(ends[1]);
    watched.fd = ends[0];
    /* What could not be executed may still be ending. */
    expect("the pipe ends", 1, poll(&watched, 1, 5000));
    expect("nobody else has the pipe", POLLHUP, watched.revents);
    close(ends[0]);
    expect("there is no child to wait for", -1, waitpid(-1, NULL, WNOHANG));
    printf("%d\n", result);
    if (result != 0)
        return 0;
    expect("escrow_add", 0, escrow_add(escrow, 0, 0, 0, 0, NULL));
    expect("escrow_get", 0, escrow_get(escrow, 0, 0, &fd, &nob, NULL));
    expect("escrow_del", 0, escrow_del(escrow, 0, 0));
    close(fd);
    escrow_fini(escrow);
    return 0;
}

/* The descriptor of the session with the broker at a path: there is one session in this program. */
static int number_of_session(const char *path)
{
    for (int number = 3; number < 64; number++) {
        struct sockaddr_un peer = { 0 };
        socklen_t size = sizeof peer;
        if (!getpeername(number, (struct sockaddr *)&peer, &size) && !strcmp(peer.sun_path, path))
            return number;
    }
    expect("there is a session", 1, 0);
    return -1;
}

/* A socket of the program's own that gets the number of the session's. */
static void replace(const char *path, int ends[2])
{
    int number = number_of_session(path);
    expect("socketpair", 0, socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    expect("the stranger has the number", number, dup2(ends[0], number));
    close(ends[0]);
    ends[0] = number;
}

/* As a program does that closes all it does not know, before it goes on as a daemon. */
static int closed(const char *path, int tag)
{
    int32_t nob = 0;
    int ends[2], fd = 77;
    struct escrow *escrow = begin(path);
    expect("what was made", 0, escrow_add(escrow, tag, 0, 0, 0, NULL));

    expect("close behind its back", 0, close(number_of_session(path)));
    expect("not open", -ENOTCONN, escrow_get(escrow, tag, 0, &fd, &nob, NULL));
    expect("the next one connects again", 0, escrow_get(escrow, tag, 0, &fd, &nob, NULL));
    expect("a descriptor came", 0, close(fd));

    /* Once more, and now the number belongs to a stranger. */
    replace(path, ends);
    nob = 0;
    expect("a stranger's", -ENOTCONN, escrow_get(escrow, tag, 0, &fd, &nob, NULL));
    struct pollfd pollfd = { .fd = ends[1], .events = POLLIN };
    expect("nothing was written to it", 0, poll(&pollfd, 1, 0));
    expect("it is open", 1, write(ends[0], "x", 1));
    expect("and connected", 1, poll(&pollfd, 1, 0));
    expect("the next one connects again", 0, escrow_get(escrow, tag, 0, &fd, &nob, NULL));
    expect("a descriptor came", 0, close(fd));
    expect("it is still open", 1, write(ends[0], "x", 1));

    /* A session that is ended while a stranger has its number. */
    close(ends[0]);
    close(ends[1]);
    replace(path, ends);
    escrow_fini(escrow);
    expect("it was left open", 1, write(ends[0], "x", 1));
    return 0;
}

static int forked(const char *path, int tag)
{
    int32_t nob = 0, nr = 0;
    int status = 0;
    struct escrow *escrow = begin(path);
    expect("in the parent", 0, escrow_tag(escrow, tag, &nr, &nob));
    pid_t child = fork();
    if (child == 0) {
        expect("in the child", -ENOTCONN, escrow_tag(escrow, tag, &nr, &nob));
        expect("a session of its own", 0, escrow_tag(escrow, tag, &nr, &nob));
        escrow_fini(escrow);
        _exit(0);
    }
    expect("the child", child, waitpid(child, &status, 0));
    expect("the child's status", 0, status);
    expect("in the parent still", 0, escrow_tag(escrow, tag, &nr, &nob));
    escrow_fini(escrow);
    return 0;
}

static void say(const char *what)
{
    printf("%s\n", what);
    fflush(stdout);
}

static int turn(const char *path, int tag)
{
    struct escrow *escrow = begin(path);
    int32_t nr, nob;
    say("asking");
    expect("escrow_tag", 0, escrow_tag(escrow, tag, &nr, &nob));
    say("has it");
    while (getchar() != EOF)
        ;
    escrow_fini(escrow);
    return 0;
}

static int steps(const char *path, int tag)
{
    struct escrow *escrow = begin(path);
    char line[80], payload[8] = "kept";
    expect("escrow_add", 0, escrow_add(escrow, tag, 0, 0, 4, payload));
    say("added");
    while (fgets(line, sizeof line, stdin)) {
        int32_t nob = sizeof payload;
        int fd;
        int result = escrow_get(escrow, tag, 0, &fd, &nob, payload);
        printf("%d\n", result);
        fflush(stdout);
        if (fd >= 0)
            close(fd);
    }
    escrow_fini(escrow);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[1] : "";
    if (!strcmp(what, "round"))
        return round_trips(argv[2], atoi(argv[3]));
    if (!strcmp(what, "errors"))
        return errors(argv[2], atoi(argv[3]));
    if (!strcmp(what, "init") && argc > 4)
        return init(argv[2], atoi(argv[3]), atoi(argv[4]));
    if (!strcmp(what, "closed"))
        return closed(argv[2], atoi(argv[3]));
    if (!strcmp(what, "forked"))
        return forked(argv[2], atoi(argv[3]));
    if (!strcmp(what, "turn"))
        return turn(argv[2], atoi(argv[3]));
    if (!strcmp(what, "steps"))
        return steps(argv[2], atoi(argv[3]));
    fprintf(stderr, "usage: capi round|errors|init|closed|forked|turn|steps SOCKET TAG\n");
    return 2;
}

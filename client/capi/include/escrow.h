/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * escrow.h: keep descriptors and data with a broker, and fetch them back after a restart.
 *
 * The interface (names, signatures, meaning) is that of the escrow library,
 * https://github.com/nikitadanilov/escrow; this description of it, and the library behind it, are
 * fdbroker's. A program written for that library is compiled with this header and linked with
 * -lescrow. In what the two differ: docs/c.md.
 *
 * A slot is a tag (0 to 32767) and an index (0 to 2147483647). It holds a descriptor, a payload of
 * up to 32768 bytes, or both, until it is deleted.
 *
 * Every function but escrow_fini() returns 0, or a negated errno value:
 *
 *   -EACCES      the broker's policy does not allow it; or a security module of the kernel (AppArmor,
 *                SELinux) kept the descriptor from this program
 *   -ENOENT      escrow_get, escrow_del: there is nothing in the slot;
 *                escrow_init: there is no socket, no program fdbrokerd to start, or it does not start:
 *                then the reason is on standard error
 *   -EINVAL      an argument makes no sense: a negative tag, index or size, a payload beyond
 *                32768 bytes, NULL where something has to be; escrow_init: more than 32 tags
 *   -EBADF       escrow_add: fd is not open
 *   -EDQUOT      a quota of this user is used up
 *   -EBUSY       a program of fdbroker's Rust library takes the tag over now, and this is one of the two
 *                sides: try again when that has ended
 *   -ESTALE      such a program has taken the tag over: nothing can be changed there any more
 *   -EAGAIN      the broker is starting or stopping, and was for five seconds; or it has too much to
 *                do: try again
 *   -EMFILE      no room for a descriptor, here or in the broker
 *   -EOPNOTSUPP  the tag does not accept a descriptor of this kind
 *   -ECONNREFUSED, -ESHUTDOWN, -ECONNRESET
 *                the broker is gone, and has not come back for five seconds
 *   -ENOTCONN    this program has closed the session's descriptor, or is a child after fork(): nothing
 *                was written or closed; the next request connects again
 *   -EPERM       the broker runs neither as root nor as this user, and is not trusted; or its user
 *                has no number in this program's user namespace
 *   -EPROTO      what answers is no broker
 *   -ETIMEDOUT   escrow_init: the broker that was started does not serve in time;
 *                else: the resource in the slot did not open in time
 *   -EIO         anything else; the broker's log may say more
 *
 * Threads: a handle may be used by any thread, and threads that share one take turns: a request that
 * waits makes the others wait. Nobody may use a handle that is being given to escrow_fini(). Not for
 * signal handlers. A handle belongs to the process that made it: in a child after fork() the first
 * request fails with -ENOTCONN, and the next one begins a session of the child's own. escrow_init() reads the environment, so no other thread may change
 * it meanwhile.
 */
#ifndef ESCROW_H
#define ESCROW_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A session with a broker. */
struct escrow;

/* Flags of escrow_init(). */
enum {
    /* Start a broker if nobody listens on the socket. */
    ESCROW_CREAT = 1 << 0,
    /* Say on standard error what is asked, what is answered, and what goes wrong. */
    ESCROW_VERBOSE = 1 << 1,
    /* As ESCROW_CREAT, in place of a socket file that was left behind. */
    ESCROW_FORCE = 1 << 2
};

/*
 * Begins a session with the broker at the socket path, and stores it in *escrow; NULL if that fails.
 *
 * If path is NULL, the environment's ESCROW_PATH counts; if that is not set, the place where an
 * fdbroker is expected. nr_tags, 0 to 32, is how many tags a broker that is started has to have; one
 * that runs already is not asked.
 */
int escrow_init(const char *path, uint32_t flags, int32_t nr_tags, struct escrow **escrow);

/* Ends a session, and lets go of the tags that it held. escrow may be NULL. */
void escrow_fini(struct escrow *escrow);

/*
 * Asks how much a tag holds. *nr becomes the largest used index plus one (not all below it need be
 * used), *nob the sum of the payloads' sizes. On a tag that is marked serial, this and every other
 * request waits until the session that holds the tag has ended.
 */
int escrow_tag(struct escrow *escrow, int16_t tag, int32_t *nr, int32_t *nob);

/*
 * Gets what is in a slot; it stays there. *nob is the room at data; data may be NULL if it is 0.
 *
 * *fd becomes a duplicate of the descriptor, which is close-on-exec and yours to close, or -1 if there
 * is none, and if the request fails. *nob becomes the size of the payload, of which no more is stored
 * at data than there was room for; it is left alone if the request fails.
 */
int escrow_get(struct escrow *escrow, int16_t tag, int32_t idx, int *fd, int32_t *nob, void *data);

/*
 * Deposits the nob bytes at data, and the descriptor fd if it is not negative; it stays open here.
 * What was in the slot is replaced. data may be NULL if nob is 0.
 */
int escrow_add(struct escrow *escrow, int16_t tag, int32_t idx, int fd, int32_t nob, void *data);

/* Deletes what is in a slot. */
int escrow_del(struct escrow *escrow, int16_t tag, int32_t idx);

/*
 * Finds a field in the payload of a connection that the broker has made: "protocol", "peer", "user",
 * "parameter.server_version" and others, which docs/protocol.md lists. Not part of the escrow interface.
 *
 * The nob bytes at data are the whole payload, as escrow_get() stored it. *value becomes the place of
 * the field's bytes within data, and *size their number; no NUL follows them. They stay valid as long
 * as data does.
 *
 * -EINVAL if the bytes are not the payload of a connection; -ENOENT if it has no such field. *value
 * is NULL and *size is 0 then.
 */
int escrow_connection_get(const void *data, int32_t nob, const char *name, const void **value, int32_t *size);

#ifdef __cplusplus
}
#endif

#endif

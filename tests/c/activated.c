/* A service that knows socket activation: it answers one connection on the descriptor it was
 * given and says which name the descriptor had. Exits with 1 when it was not activated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"),
               *names = getenv("LISTEN_FDNAMES");
    if (!pid || atol(pid) != getpid() || !count || strcmp(count, "1") != 0 || !names) {
        fprintf(stderr, "not activated\n");
        return 1;
    }
    int connection = accept(3, NULL, NULL);
    if (connection < 0) {
        perror("accept");
        return 1;
    }
    dprintf(connection, "activated as %s\n", names);
    return 0;
}

/* Reads the payloads of connections with the library for C.
 *
 * usage: connection NAME... <PAYLOADS
 *
 * Of each line of hexadecimal digits on standard input, it writes a line: "refused", or for each name
 * the digits of the field, or "-" if there is none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <escrow.h>

enum { ROOM = 40000 };

static int parse(const char *line, unsigned char *bytes)
{
    int length = 0;
    while (sscanf(line + 2 * length, "%2hhx", &bytes[length]) == 1)
        length++;
    return length;
}

static void show(int argc, char **argv, const unsigned char *bytes, int length)
{
    const void *value;
    int32_t size;
    if (escrow_connection_get(bytes, length, "protocol", &value, &size) == -EINVAL) {
        puts("refused");
        return;
    }
    for (int i = 1; i < argc; i++) {
        int result = escrow_connection_get(bytes, length, argv[i], &value, &size);
        if (result == -ENOENT && value == NULL && size == 0)
            printf("- ");
        else if (result != 0)
            exit(1);
        for (int at = 0; result == 0 && at < size; at++)
            printf("%02x", ((const unsigned char *)value)[at]);
        if (result == 0)
            printf(" ");
    }
    puts("");
}

int main(int argc, char **argv)
{
    static char line[2 * ROOM + 2];
    static unsigned char bytes[ROOM];
    int32_t size = 0;
    const void *value = NULL;
    if (escrow_connection_get(NULL, 0, "protocol", &value, &size) != -EINVAL)
        return 1;
    if (escrow_connection_get(bytes, -1, "protocol", &value, &size) != -EINVAL)
        return 1;
    if (escrow_connection_get(bytes, 1, NULL, &value, &size) != -EINVAL)
        return 1;
    while (fgets(line, sizeof line, stdin) != NULL) {
        /* Memory of just this size, so that valgrind sees a read beyond it. */
        int length = parse(line, bytes);
        unsigned char *exact = malloc(length + 1);
        memcpy(exact, bytes, length);
        show(argc, argv, exact, length);
        free(exact);
    }
    return 0;
}

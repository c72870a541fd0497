/* A handler that tells what the kernel handed to it. Arguments of the foreign program choose more. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/xattr.h>
#include <unistd.h>

int main(int count, char **arguments) {
    /* The machine that the header of the program names. */
    unsigned char head[20] = {0};
    pread(getauxval(AT_EXECFD), head, sizeof head, 0);
    printf(NAME " %d uid %d euid %d:", head[18], getuid(), geteuid());
    for (int at = 1; at < count; at++)
        printf(" %s", arguments[at]);
    printf("\n");
    if (count > 4 && !strcmp(arguments[3], "setcap")) {
        /* CAP_NET_BIND_SERVICE, permitted and effective. */
        unsigned char value[20] = {1, 0, 0, 2, 0, 4};
        if (setxattr(arguments[4], "security.capability", value, sizeof value, 0) < 0) {
            perror("setxattr");
            return 1;
        }
    }
    if (count > 3 && !strcmp(arguments[3], "wait")) {
        fflush(stdout);
        pause();
    }
    return count > 3 && !strcmp(arguments[3], "fail") ? 7 : 0;
}

/* Tells how it was entered: as KIND, with which arguments, environment and auxiliary vector, and what of the process
 * it finds. Arguments that begin with a plus choose more. Built as an emulator, as a twin, and as a plain program. */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void status(const char *key) {
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)))
            printf("%s %s", key, strrchr(line, '\t') + 1);
    if (file)
        fclose(file);
}

/* Lines of `key value`, an empty one, then all arguments and variables, each with its NUL. */
static void dump(int count, char **arguments) {
    int variables = 0;
    while (environ[variables])
        variables++;
    ElfW(auxv_t) *vector = (void *)(environ + variables + 1);
    printf("kind %s\nargc %d\nenvc %d\n", KIND, count, variables);
    printf("aligned %d\n", (unsigned long)(arguments - 1) % 16 == 0);
    for (; vector->a_type != AT_NULL; vector++) {
        unsigned long value = vector->a_un.a_val;
        struct stat stat;
        switch (vector->a_type) {
        case AT_EXECFD:
            printf("execfd %lu\n", fstat(value, &stat) ? 0 : stat.st_ino);
            break;
        case AT_PHDR: {
            /* The headers are where they are said to be: one of them says that they are loaded. */
            ElfW(Phdr) *header = (void *)value;
            int loads = 0, dynamic = 0;
            for (unsigned long at = 0; at < getauxval(AT_PHNUM); at++) {
                loads += header[at].p_type == PT_LOAD;
                dynamic += header[at].p_type == PT_DYNAMIC;
            }
            printf("loads %d\ndynamic %d\n", loads, dynamic);
            break;
        }
        case AT_BASE: printf("base %d\n", value != 0); break;
        case AT_ENTRY: printf("entry %d\n", *(volatile unsigned char *)value != 0); break;
        case AT_FLAGS: printf("flags %lu\n", value); break;
        case AT_SECURE: printf("secure %lu\n", value); break;
        case AT_EXECFN: printf("execfn %s\n", (char *)value); break;
        case AT_PAGESZ: printf("pagesz %lu\n", value); break;
        case AT_RANDOM: printf("random %d\n", *(volatile unsigned char *)value >= 0); break;
        case AT_UID: case AT_EUID: case AT_GID: case AT_EGID:
            printf("id%lu %lu\n", vector->a_type, value);
            break;
        }
    }
    char name[16];
    prctl(PR_GET_NAME, name);
    printf("comm %s\n", name);
    printf("fds");
    for (int fd = 0; fd < 64; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf(" %d", fd);
    printf("\n");
    status("SigBlk:");
    status("SigIgn:");
    status("SigCgt:");
    status("Threads:");
    printf("\n");
    for (int at = 0; at < count; at++)
        fwrite(arguments[at], 1, strlen(arguments[at]) + 1, stdout);
    for (char **at = environ; *at; at++)
        fwrite(*at, 1, strlen(*at) + 1, stdout);
    fflush(stdout);
}

static unsigned number(void) {
    unsigned value = 0;
    if (fread(&value, 4, 1, stdin) != 1)
        exit(111);
    return value;
}

static char *text(void) {
    unsigned length = number();
    char *text = calloc(1, length + 1);
    if (length && fread(text, length, 1, stdin) != 1)
        exit(112);
    return text;
}

static char **texts(void) {
    unsigned count = number();
    char **texts = calloc(count + 1, sizeof *texts);
    for (unsigned at = 0; at < count; at++)
        texts[at] = text();
    return texts;
}

/* Starts programs as standard input says, one after the other; a single one in place of this process. */
static int start(void) {
    unsigned count = number();
    for (unsigned at = 0; at < count; at++) {
        char *path = text(), **arguments = texts(), **variables = texts();
        int child = count > 1 ? fork() : 0;
        if (!child) {
            execve(path, arguments, variables);
            perror(path);
            _exit(113);
        }
        int status;
        waitpid(child, &status, 0);
        if (status)
            return 114;
    }
    return 0;
}

/* Starts a program many times; how long one takes, and what that costs this process. */
static int loop(int count, char **arguments) {
    struct timespec begin, end;
    int failed = 0;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int at = 0; at < count; at++) {
        pid_t child;
        int status = 1;
        if (posix_spawn(&child, arguments[0], 0, 0, arguments, environ) == 0)
            waitpid(child, &status, 0);
        failed += status != 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double taken = (end.tv_sec - begin.tv_sec) * 1e6 + (end.tv_nsec - begin.tv_nsec) / 1e3;
    printf("%.1f %d\n", taken / count, failed);
    status("VmRSS:");
    status("VmSize:");
    return 0;
}

static void told(const char *call, int right) { printf("%s %s\n", call, right ? "ok" : strerror(errno)); }

/* What the shim answers; the last three arguments are a file, its directory, and what is not there. */
static int shim(const char *path, const char *folder, const char *absent) {
    struct utsname name;
    char link[4096] = {0}, text[64] = {0};
    struct stat at;
    uname(&name);
    printf("machine %s\nsysname %s\n", name.machine, name.sysname);
    if (readlink("/proc/self/exe", link, sizeof link - 1) >= 0)
        printf("exe %s\n", link);
    memset(link, 0, sizeof link);
    if (readlinkat(AT_FDCWD, "/proc/self/exe", link, 4) >= 0)
        printf("cut %s\n", link);
    memset(link, 0, sizeof link);
    if (readlink("/proc/thread-self/../../3/log", link, 4) < 0)
        printf("nolink %d\n", errno == EINVAL || errno == ENOENT);
    int fd = open(path, O_RDONLY);
    told("open", fd >= 0 && read(fd, text, 63) > 0);
    printf("text %s\n", text);
    told("openat", openat(AT_FDCWD, path, O_RDONLY) >= 0);
    told("stat", !stat(path, &at) && at.st_size == (off_t)strlen(text));
    told("lstat", !lstat(path, &at));
    told("fstatat", !fstatat(AT_FDCWD, path, &at, AT_SYMLINK_NOFOLLOW));
    told("access", !access(path, R_OK));
    FILE *file = fopen(path, "r");
    told("fopen", file && fgetc(file) == text[0]);
    DIR *open = opendir(folder);
    int count = 0;
    while (open && readdir(open))
        count++;
    told("opendir", count == 3);
    errno = 0;
    told("absent", fopen(absent, "r") != NULL);
    errno = 0;
    told("absent", stat(absent, &at) == 0);
    errno = 0;
    told("null", open64(NULL, O_RDONLY) >= 0);
    fd = openat(AT_FDCWD, "made", O_CREAT | O_WRONLY, 0640);
    told("mode", fd >= 0 && !fstat(fd, &at) && (at.st_mode & 0777) == 0640);
    return 0;
}

/* Divisions that trap: in registers, in memory, as C makes them; before and after them the stack is as it was. */
static int divide(void) {
    volatile long low = -9223372036854775807L - 1, minus = -1, none = 0, plain = 17;
    volatile long row[3] = {5, -1, 0};
    volatile int small = -2147483647 - 1, one = -1, zero = 0, at = 1;
    volatile unsigned long great = -1UL;
    volatile unsigned char byte = 200, nil = 0;
    printf("long %ld %ld %ld %ld\n", low / minus, low % minus, plain / none, plain % none);
    printf("row %ld %ld %ld\n", low / row[at], row[0] % row[at + 1], row[2] / row[at + 1]);
    printf("int %d %d %d %d\n", small / one, small % one, small / zero, small % zero);
    printf("unsigned %lu %lu\n", great / (unsigned long)none, great % (unsigned long)none);
    printf("byte %d %d\n", byte / nil, byte % nil);
    short rest, quotient;
    asm volatile("idivw %w4" : "=a"(quotient), "=d"(rest) : "0"(-32768), "1"(-1), "r"(-1) : "cc");
    printf("short %d %d\n", quotient, rest);
    printf("other %ld %ld\n", plain / minus, low / plain);
    return 0;
}

/* A division that nothing stands in for. */
static void divq(void) {
    unsigned long low = 1, high = 7;
    asm volatile("divq %2" : "+a"(low), "+d"(high) : "r"(3UL) : "cc");
    printf("%lu\n", low);
}

int main(int count, char **arguments) {
#ifdef QUIET
    return 0;
#endif
    for (int at = 1; at < count && arguments[at][0] == '+'; at++) {
        char *word = arguments[at] + 1, *next = at + 1 < count ? arguments[at + 1] : "";
        if (!strcmp(word, "start"))
            return start();
        if (!strcmp(word, "loop"))
            return loop(atoi(next), arguments + at + 2);
        if (!strcmp(word, "shim"))
            return shim(next, arguments[at + 2], arguments[at + 3]);
        if (!strcmp(word, "divide"))
            return divide();
        if (!strcmp(word, "divq"))
            divq();
        if (!strcmp(word, "exit"))
            return atoi(next);
        if (!strcmp(word, "kill"))
            return raise(atoi(next));
        if (!strcmp(word, "exec")) {
            execv(next, arguments + at + 1);
            perror(next);
            return 113;
        }
        if (!strcmp(word, "put"))
            putenv(next);
        if (!strcmp(word, "unset"))
            unsetenv(next);
        if (!strcmp(word, "ignore"))
            signal(atoi(next), SIG_IGN);
        if (!strcmp(word, "block")) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, atoi(next));
            sigprocmask(SIG_BLOCK, &set, 0);
        }
        if (!strcmp(word, "dup"))
            dup2(1, atoi(next));
        if (!strcmp(word, "close"))
            close(atoi(next));
        if (!strcmp(word, "stack")) {
            struct rlimit limit = {atol(next) * 1024, atol(next) * 1024};
            setrlimit(RLIMIT_STACK, &limit);
        }
        if (!strcmp(word, "chroot") && (chroot(next) || chdir("/"))) {
            perror(next);
            return 115;
        }
        at++;
    }
    dump(count, arguments);
    return 0;
}

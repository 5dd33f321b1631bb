/* The least that a C program must do for what a job queue does: what no queue can beat on this machine.
 *
 *   floor spawn N LINE     run LINE by /bin/sh N times, two at a time
 *   floor append FILE      put one job on disk: a line, synced
 *   floor bulk N FILE      put N jobs on disk: N lines, one write, one sync
 *   floor serve FIFO       run each line that comes by the FIFO by /bin/sh
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void start(char *line) {
    pid_t pid;
    char *argv[] = {"sh", "-c", line, 0};
    if (posix_spawn(&pid, "/bin/sh", 0, 0, argv, environ)) exit(3);
}

int main(int count, char **words) {
    if (count == 4 && !strcmp(words[1], "spawn")) {
        long left = atol(words[2]), live = 0;
        for (; left || live; live -= wait(0) > 0)
            for (; left && live < 2; left--, live++) start(words[3]);
    } else if (count == 3 && !strcmp(words[1], "append")) {
        int fd = open(words[2], O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (write(fd, "{\"op\":\"add\",\"command\":\"true\"}\n", 30) != 30 || fdatasync(fd)) return 3;
    } else if (count == 4 && !strcmp(words[1], "bulk")) {
        long jobs = atol(words[2]);
        char *data = malloc(30 * jobs);
        for (long i = 0; i < jobs; i++) memcpy(data + 30 * i, "{\"op\":\"add\",\"command\":\"true\"}\n", 30);
        int fd = open(words[3], O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (write(fd, data, 30 * jobs) != 30 * jobs || fdatasync(fd)) return 3;
    } else if (count == 3 && !strcmp(words[1], "serve")) {
        char line[4096];
        FILE *orders = fopen(words[2], "r+");
        while (fgets(line, sizeof line, orders)) {
            start(line);
            wait(0);
        }
    } else {
        return 2;
    }
    return 0;
}
